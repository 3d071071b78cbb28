"""Ticks are round, numbers are short, names keep their distance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.report.page.charts.place import Box, Segment, find_free_box, find_name_line, spread
from frostline.report.page.charts.scale import list_linear_ticks, list_log_ticks, write_number, write_ticks
from frostline.report.page.charts.svg import measure_text, shorten


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12), st.integers(2, 12))
def test_ticks_are_round_few_and_between_the_ends(low: float, span: float, most: int) -> None:
    high = low + span
    if span < 1e-6 * max(abs(low), abs(high)):
        return
    ticks = list_linear_ticks(low, high, most)
    assert 1 <= len(ticks) <= most and ticks == sorted(set(ticks))
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)
    assert len(set(write_ticks(ticks))) == len(ticks) or span < 1e-3 * max(abs(low), abs(high))


@given(st.floats(-8, 8), st.floats(0.5, 15), st.integers(2, 10))
def test_ticks_of_a_logarithmic_axis_are_powers_of_ten_or_a_few_times_these(low: float, span: float, most: int) -> None:
    ticks = list_log_ticks(10**low, 10 ** (low + span), most)
    assert len(ticks) <= most and ticks == sorted(set(ticks))
    assert {f"{tick:.0e}"[0] for tick in ticks} <= {"1", "2", "3", "5"}


def test_numbers_are_written_as_people_write_them() -> None:
    values = [0.91234, 4007548, 12810, 1234, 999.96, 0.0001, -0.05, 0, 88.0, 1.26e9, 0.00012345]
    written = [write_number(value) for value in values]
    assert written == [
        "0.912",
        "4.01M",
        "12.8k",
        "1234",
        "1000",
        "1e\u22124",
        "\u22120.05",
        "0",
        "88",
        "1.26G",
        "1.23e\u22124",
    ]
    assert write_ticks([0.8, 0.85, 0.9]) == ["0.80", "0.85", "0.90"]
    assert write_ticks([0, 5000, 10000]) == ["0", "5k", "10k"]
    assert write_ticks([0.001, 0.01, 1], log=True) == ["0.001", "0.01", "1"]


@given(st.lists(st.floats(0, 100), max_size=8))
def test_names_spread_in_their_order_and_no_further_than_they_must(places: list[float]) -> None:
    moved = spread(places, 10, 0, 100)
    order = sorted(range(len(places)), key=lambda index: places[index])
    heights = [moved[index] for index in order]
    assert all(-1e-6 <= height <= 100 + 1e-6 for height in heights)
    assert all(later - earlier >= 10 - 1e-6 for earlier, later in zip(heights, heights[1:], strict=False))
    if heights == [] or min((b - a for a, b in zip(heights, heights[1:], strict=False)), default=11) > 10.5:
        assert moved == pytest.approx(places)


def test_the_part_of_a_line_within_a_box() -> None:
    box = Box(0, 0, 10, 10)
    assert Segment(-5, 5, 15, 5).measure_within(box) == 10
    assert Segment(2, 2, 5, 6).measure_within(box) == 5
    assert Segment(-5, -1, 15, -1).measure_within(box) == Segment(11, 0, 20, 9).measure_within(box) == 0


def test_long_names_end_in_an_ellipsis() -> None:
    assert shorten("short", 100) == "short"
    assert shorten("a name that is very long", 60).endswith("\u2026")
    assert measure_text(shorten("x" * 100, 60)) <= 60


def test_a_name_takes_the_nearest_free_place_and_a_line_where_that_is_far() -> None:
    page, centre, size = Box(0, 0, 400, 400), (200, 200), (50, 14)
    own = Box(192, 192, 208, 208)
    right = find_free_box(centre, size, [own], [], page)
    assert right.left > own.right and find_name_line(centre, right) is None
    left = find_free_box(centre, size, [own], [Box(200, 150, 300, 250)], page)
    assert left.right < own.left
    far = find_free_box(centre, size, [own], [Box(120, 170, 300, 230)], page)
    assert find_name_line(centre, far) is not None and page.holds(far)
