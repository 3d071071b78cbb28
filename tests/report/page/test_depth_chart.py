"""The picture of a depth profile: names below that do not touch, the best taps named, gaps left, joined heads level."""

import math
import re
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.report.page.drawings import all_of, read, touching, words

from frostline.report.page.charts import NARROW, WIDE, Axis, Bar, Reading, depth_chart
from frostline.report.page.charts.names import strip_common

Y = Axis("validation accuracy")
JOINED = Bar("joined head", 0.95, 0.92, 0.97)
scores = st.none() | st.floats(-1e9, 1e9) | st.sampled_from([math.nan, math.inf, 0.0])


def taps_of(count: int) -> list[str]:
    return [*(f"network.blocks.{place // 4}.{place % 4}.conv_pwl" for place in range(count - 1)), "features"][-count:]


def readings_of(count: int) -> list[Reading]:
    """Return a probe that is best at two thirds of the depth, and neighbours that are best halfway."""
    found = []
    for name, best, top in (("solved probe", 0.66, 0.9), ("10 neighbours", 0.5, 0.8)):
        values = [top - abs(place / max(count - 1, 1) - best) / 2 for place in range(count)]
        found.append(Reading(name, values, [one - 0.03 for one in values], [one + 0.03 for one in values]))
    return found


def names_below(root: Element) -> list[tuple[str, float]]:
    """Return the names of taps on the axis and where they stand; upright and tilted ones."""
    kinds = [*all_of(root, "tick"), *all_of(root, "axis")]
    found = [one for one in kinds if one.get("text-anchor") == "middle" or "transform" in one.attrib]
    return sorted(((one.text or "", float(one.attrib["x"])) for one in found), key=lambda pair: pair[1])


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("count", [1, 2, 5, 18, 60, 200])
def test_names_stand_below_without_touching_and_within_the_chart(count: int, width: int) -> None:
    root = read(depth_chart(taps_of(count), readings_of(count), Y, [JOINED], width=width))
    assert not touching(words(root, "tick")) and not touching(words(root, "name"))
    below = names_below(root)
    assert below and len(below) >= min(count, 8)
    tilted = any("transform" in one.attrib for one in root.iter())
    gaps = [after[1] - before[1] for before, after in zip(below, below[1:], strict=False)]
    assert all(gap * 0.7 >= 12 for gap in gaps if tilted)
    for text, x in below if tilted else []:
        assert x - 0.71 * len(text) * 6.5 >= -2  # where a tilted name begins, in letters of half their size


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_tap_says_its_name_and_interval(width: int) -> None:
    root = read(depth_chart(taps_of(60), readings_of(60), Y, [JOINED], width=width))
    tips = [one.attrib["data-tip"] for one in all_of(root, "mark")]
    assert len(tips) == 60 + 60 + 2 and len(set(tips)) == 122
    assert "solved probe\ntap: network.blocks.0.0.conv_pwl\nvalidation accuracy: 0.57 (0.54 to 0.6)" in tips
    assert [one.attrib["tabindex"] for one in all_of(root, "mark")].count("0") == 3


def test_the_best_tap_of_each_reading_is_ringed_and_named() -> None:
    root = read(depth_chart(taps_of(61), readings_of(61), Y))
    assert len(all_of(root, "ring")) == 2
    dark = [one.text for one in all_of(root, "axis") if "transform" in one.attrib]
    assert dark == ["7.2.conv_pwl", "10.0.conv_pwl"]
    errors = [Reading("probe", [0.5, 0.2, None, 0.2, 0.4])]
    level = read(depth_chart(list("abcde"), errors, Axis("RMSE"), lower_is_better=True))
    assert [one.text for one in all_of(level, "axis") if one.get("text-anchor") == "middle"] == ["b"]


def test_intervals_are_bars_side_by_side_of_few_taps_and_bands_of_many() -> None:
    few, many = (read(depth_chart(taps_of(count), readings_of(count), Y)) for count in (12, 60))
    bars = [one.attrib["d"] for one in all_of(few, "bar")]
    assert len(bars) == 24 and not all_of(few, "band")
    starts = [float(found[1]) for path in bars if (found := re.match(r"M([\d.]+),", path))]
    assert len({round(start, 1) for start in starts}) == 24
    assert not all_of(many, "bar") and len(all_of(many, "band")) == 2


def test_a_joined_head_is_level_from_end_to_end_with_a_band() -> None:
    root = read(depth_chart(taps_of(12), readings_of(12), Y, [JOINED]))
    (line,) = [one for one in all_of(root, "line") if one.attrib["d"].count("L") == 1]
    ups = re.findall(r",([\d.]+)", line.attrib["d"])
    assert len(ups) == 2 and ups[0] == ups[1] and len(all_of(root, "band")) == 1
    lone = read(depth_chart(["features"], [], Y, [Bar("joined head", 0.9, math.nan, math.nan)]))
    assert len(all_of(lone, "mark")) == 1 and not all_of(lone, "band")


def test_a_tap_without_a_score_leaves_a_gap_and_nothing_at_all_is_said() -> None:
    root = read(depth_chart(list("abcde"), [Reading("probe", [0.1, 0.2, None, 0.4, 0.5])], Y))
    assert len(all_of(root, "line")) == 2 and len(all_of(root, "mark")) == 4
    assert "Nothing to draw yet" in depth_chart([], [], Y)
    assert "Nothing to draw yet" in depth_chart(["a"], [Reading("probe", [None])], Y)


def test_parts_that_all_names_begin_with_are_left_out() -> None:
    assert strip_common(["net.stem", "net.blocks.0", "net.blocks.1", "features"]) == [
        "stem",
        "blocks.0",
        "blocks.1",
        "features",
    ]
    assert strip_common(["a.b.c", "a.b.d"]) == ["c", "d"]
    assert strip_common(["a.b", "c"]) == ["a.b", "c"] and strip_common([]) == []


@given(st.lists(st.tuples(st.text(max_size=40), scores, scores, scores), max_size=30), st.booleans())
@settings(max_examples=20)
def test_any_input_gives_a_sound_chart_and_the_same_bytes(
    found: list[tuple[str, float | None, float | None, float | None]], lower: bool
) -> None:
    taps, values, lows, highs = ([one[place] for one in found] for place in range(4))
    readings = [Reading("a", values, lows, highs), Reading("b", lows)]  # type: ignore[arg-type]
    joined = [Bar("c", one[1] or 0.0, one[2] or 0.0, one[3] or 0.0) for one in found[:1]]
    for width in (WIDE, NARROW):
        svg = depth_chart(taps, readings, Y, joined, lower, width=width)  # type: ignore[arg-type]
        read(svg)
        assert svg == depth_chart(taps, readings, Y, joined, lower, width=width)  # type: ignore[arg-type]
