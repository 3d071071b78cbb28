"""Charts are well formed, deterministic, inside their frame, and their words do not cover each other."""

import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.report.page.drawings import SPACE, all_of, corners, read, touching, words

from frostline.report.page.charts import (
    NARROW,
    WIDE,
    Axis,
    Bar,
    Line,
    ScatterPoint,
    Waiting,
    draw_intervals,
    draw_lines,
    draw_matrix,
    draw_ranking,
    draw_scatter,
    make_standalone,
)
from frostline.report.page.charts.place import Box
from frostline.report.page.parts import Figure, Page

X, Y, LOG = Axis("cost"), Axis("accuracy"), Axis("cost", log=True)
NAMES = ["linear_probe", "last_k(k=1)", "last_k(k=2)", "full", "layer_decay", "lp_ft", "gradual", "norm_only"]
numbers = st.floats(-1e9, 1e9) | st.sampled_from([math.nan, math.inf, 0.0])


def points_of(count: int) -> list[ScatterPoint]:
    costs = [4, 12, 20, 88, 91, 71, 52, 84][:count]
    scores = [0.862, 0.905, 0.921, 0.934, 0.936, 0.938, 0.929, 0.911][:count]
    found = zip(NAMES, costs, scores, strict=False)
    return [ScatterPoint(name, x, y, x * 0.9, x * 1.1, y - 0.01, y + 0.01) for name, x, y in found]


def lines_of(count: int, epochs: int = 20) -> list[Line]:
    return [
        Line(name, range(epochs), [1 - 1 / (2 + epoch + place) for epoch in range(epochs)])
        for place, name in enumerate(NAMES[:count])
    ]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_chart_is_inside_its_frame(everything: Callable[[Callable[[str], str]], Page], width: int) -> None:
    figures = [part for section in everything(str).sections for part in section.parts if isinstance(part, Figure)]
    assert len(figures) == 6
    for figure in figures:
        root = read(figure.svg if width == WIDE else figure.narrow)
        assert all_of(root, "mark")
        tabs = [mark for mark in all_of(root, "mark") if mark.attrib["tabindex"] == "0"]
        assert tabs and all(mark.get("role") == "img" and mark.get("aria-label") for mark in all_of(root, "mark"))


@pytest.mark.parametrize("x", [X, LOG])
def test_names_of_a_scatter_cover_neither_each_other_nor_markers(x: Axis) -> None:
    root = read(draw_scatter(points_of(8), x, Y, front=["linear_probe", "last_k(k=1)", "lp_ft"]))
    names = words(root, "name")
    assert len(names) == 8 and not touching(names)
    places = [corner for group in all_of(root, "mark") for dot in all_of(group, "hit") for corner in [dot.attrib]]
    dots = [Box(float(at["cx"]) - 6, float(at["cy"]) - 6, float(at["cx"]) + 6, float(at["cy"]) + 6) for at in places]
    assert len(dots) == 8 and not [name for name in names for dot in dots if name.measure_overlap(dot)]


def test_the_front_goes_from_the_cheapest_in_level_and_upright_steps() -> None:
    root = read(draw_scatter(points_of(8), X, Y, front=["lp_ft", "linear_probe", "last_k(k=1)"]))
    path = all_of(root, "front")[0].attrib["d"]
    assert re.fullmatch(r"M[\d.,]+H[\d.]+V[\d.]+H[\d.]+V[\d.]+H[\d.]+", path)
    across = [float(value) for value in re.findall(r"[MH]([\d.]+)", path)]
    assert across == sorted(across)
    assert not all_of(read(draw_scatter(points_of(8), X, Y, front=["lp_ft"])), "front")


def test_a_name_keeps_its_looks_in_every_chart() -> None:
    styles = {name: place for place, name in enumerate(NAMES)}
    charts = [
        draw_scatter(points_of(8)[3:4], X, Y, styles=styles),
        draw_lines(lines_of(8)[3:4], X, Y, styles=styles),
        draw_intervals([Bar("full", 0, -1, 1)], X, True, styles=styles),
        draw_matrix(["full"], ["a"], [[1]], styles=styles),
        draw_ranking({"full": 1.0}, None, [], styles=styles),
    ]
    for svg in charts:
        named = [element for element in read(svg).iter() if element.get("data-name") == "full"]
        assert named and all("s3" in element.attrib["class"].split() for element in named)


def test_no_two_of_many_strategies_look_the_same() -> None:
    names = [f"s{place}" for place in range(30)]
    root = read(draw_ranking({name: place + 1.0 for place, name in enumerate(names)}, None, []))
    looks = set()
    for mark in all_of(root, "mark"):
        dot = all_of(mark, "dot")[0]
        pairs = corners(dot)
        shape = [(round(x - pairs[0][0], 1), round(y - pairs[0][1], 1)) for x, y in pairs]
        looks.add((mark.attrib["class"], dot.tag, str(shape)))
    assert len(looks) == 30


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("count", [1, 8])
def test_lines_are_named_at_their_ends_or_in_a_key(count: int, width: int) -> None:
    root = read(draw_lines(lines_of(count), X, Y, marks=[(3, "all"), (4, "more"), (18, "end")], width=width))
    names = words(root, "name")
    assert len(names) == count and not touching(names)
    assert not touching(words(root, "note"))
    assert len(all_of(root, "phase")) == 3
    assert len(all_of(root, "key")) == (0 if width == WIDE else count)


def test_what_waits_for_a_score_stands_hollow_on_the_axis_and_without_points_not_at_all() -> None:
    waiting = [Waiting("later", 200, "not run"), Waiting("never", 0.0)]  # which has no place on a logarithmic axis
    for width in (WIDE, NARROW):
        root = read(draw_scatter(points_of(3), LOG, Y, waiting=waiting, width=width))
        (mark,), (base,) = all_of(root, "hollow"), [one for one in all_of(root, "base") if "x1" in one.attrib][:1]
        assert mark.attrib["cy"] == base.attrib["y1"] and not touching(words(root, "name"))
    assert not all_of(read(draw_scatter([], LOG, Y, waiting=waiting)), "hollow")


def test_a_line_with_gaps_is_drawn_in_pieces_and_chosen_values_are_ringed() -> None:
    line = Line("a", [1, 2, 3, 4, 5], [1, 2, math.nan, 4, 5], chosen=4)
    root = read(draw_lines([line, Line("lost", [1], [math.nan])], X, Y))
    assert len(all_of(root, "line")) == 2
    assert len(all_of(root, "mark")) == 4
    assert len(all_of(root, "ring")) == 1
    assert [text.text for text in root.iter(f"{SPACE}text")][-1] == "Not drawn, for want of a number: lost"


def test_a_long_line_has_few_stops_for_the_tab_key_and_few_tips() -> None:
    root = read(draw_lines(lines_of(1, epochs=1000), X, Y))
    marks = all_of(root, "mark")
    assert len(marks) <= 40 and [mark.attrib["tabindex"] for mark in marks].count("0") == 1
    assert "cost: 999" in marks[-1].attrib["data-tip"] and "cost: 0" in marks[0].attrib["data-tip"]


def test_intervals_write_their_numbers_alike_and_draw_the_zero_line() -> None:
    root = read(
        draw_intervals([Bar("a", -0.09, -0.1, -0.063), Bar("b", math.nan, 0, 0), Bar("c", 0.5, math.nan, 1)], X, True)
    )
    assert [element.text for element in all_of(root, "number")] == [
        "\u22120.090 [\u22120.100, \u22120.063]",
        "\u2013",
        "0.500",
    ]
    assert len(all_of(root, "zero")) == len(all_of(root, "heavy")) == 1
    zero, base = float(all_of(root, "zero")[0].attrib["x1"]), all_of(root, "base")[0].attrib
    assert float(base["x1"]) < zero < float(base["x2"])


def test_a_heat_map_writes_every_number_and_shades_by_size() -> None:
    root = read(draw_matrix(["a", "b"], ["c", "d"], [[0, 0.5], [1, None]]))
    cells = all_of(root, "cell")
    texts = ["".join(text.text or "" for text in cell.iter(f"{SPACE}text")) for cell in cells]
    assert texts == ["0.00", "0.50", "1.00", ""]
    assert [cell[1].attrib["class"] for cell in cells] == ["h0", "h4", "h8", "h-none"]
    assert [text.attrib["class"] for cell in cells for text in cell.iter(f"{SPACE}text")] == ["in-h0", "in-h4", "in-h8"]
    assert [cell.attrib["tabindex"] for cell in cells] == ["0", "-1", "-1", "-1"]


def test_numbers_that_do_not_fit_stand_in_the_tip_alone() -> None:
    names = [f"class {place}" for place in range(80)]
    root = read(draw_matrix(names, names, [[12345.0] * 80] * 80, ".0f"))
    assert not [text for cell in all_of(root, "cell") for text in cell.iter(f"{SPACE}text")]
    assert all_of(root, "cell")[0].attrib["data-tip"] == "class 0\nclass 0: 12345"


def test_ranks_go_from_the_best_at_the_left_and_bars_join_cliques() -> None:
    root = read(draw_ranking({"worst": 3.0, "best": 1.0, "middle": 2.0}, 1.5, [["best", "middle"]]))
    marks = all_of(root, "mark")
    assert [mark.attrib["data-name"] for mark in marks] == ["best", "middle", "worst"]
    places = [float(all_of(mark, "hit")[0].attrib["cx"]) for mark in marks]
    assert places == sorted(places)
    bar = all_of(root, "clique")[0].attrib
    assert float(bar["x1"]) < places[0] < places[1] < float(bar["x2"]) < places[2]
    critical = re.match(r"M([\d.]+),.*H([\d.]+)m", all_of(root, "critical")[0].attrib["d"])
    assert critical and float(critical[2]) - float(critical[1]) == pytest.approx(1.5 * (places[1] - places[0]), abs=0.2)
    assert not touching(words(root, "name"))


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_to_draw_is_said(width: int) -> None:
    charts = [
        draw_scatter([], X, Y, width=width),
        draw_scatter([ScatterPoint("a", 0, 1)], LOG, Y, width=width),
        draw_lines([], X, Y, width=width),
        draw_lines([Line("a", [], [])], X, Y, width=width),
        draw_intervals([], X, True, width=width),
        draw_intervals([Bar("a", math.nan, 0, 1)], X, True, width=width),
        draw_matrix([], [], [], width=width),
        draw_matrix(["a"], [], [[]], width=width),
        draw_ranking({}, None, [], width=width),
    ]
    assert all("Nothing to draw yet" in svg for svg in charts if read(svg) is not None)


def test_a_point_without_a_place_is_named() -> None:
    svg = draw_scatter([*points_of(2), ScatterPoint("free of charge", 0, 1), ScatterPoint("lost", 1, math.nan)], LOG, Y)
    assert "Not drawn, for want of a number: free of charge, lost" in svg


@given(st.lists(st.tuples(st.text(max_size=30), numbers, numbers, numbers, numbers), max_size=6), st.booleans())
@settings(max_examples=25)
def test_any_input_gives_a_sound_chart_and_the_same_bytes(
    found: list[tuple[str, float, float, float, float]], log: bool
) -> None:
    for width in (WIDE, NARROW):
        points = [ScatterPoint(name, x, y, low, high, low, high, name) for name, x, y, low, high in found]
        bars = [Bar(name, x, low, high) for name, x, _, low, high in found]
        drawn = [Line(name, [x, y], [low, high], [y, y], [low, low]) for name, x, y, low, high in found]
        names = [name for name, *_ in found]
        charts = [
            lambda width=width, points=points: draw_scatter(points, Axis("x", log), Axis("y", log), width=width),
            lambda width=width, drawn=drawn, names=names: draw_lines(drawn, Axis("x", log), Y, [(1, "a")], width=width),
            lambda width=width, bars=bars: draw_intervals(bars, X, True, width=width),
            lambda width=width, names=names: draw_matrix(
                names, names, [[one[1] for one in found]] * len(found), width=width
            ),
            lambda width=width, names=names: draw_ranking(
                {name: 1.0 + place for place, (name, *_) in enumerate(found)}, 1.0, [names], width=width
            ),
        ]
        for chart in charts:
            svg = chart()
            read(svg)
            assert chart() == svg
            svg.encode()


def test_a_chart_stands_alone_as_a_file() -> None:
    svg = make_standalone(draw_scatter(points_of(3), X, Y))
    root = ElementTree.fromstring(svg)
    assert root.get("width") == str(WIDE) and root[0].tag == f"{SPACE}style" and root[1].tag == f"{SPACE}rect"
    assert "var(" not in svg and "light-dark" not in svg and "#0a63ad" in svg
