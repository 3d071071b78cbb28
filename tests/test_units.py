"""Numbers as people read them."""

import pytest

from frostline.units import (
    format_bytes,
    format_compact,
    format_count,
    format_duration,
    format_flops,
    format_score,
    join_names,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.44, "0.4 s"),
        (99.94, "99.9 s"),
        (99.96, "1 min 40 s"),
        (185, "3 min 05 s"),
        (3725, "1 h 02 min"),
        (3599.6, "1 h 00 min"),
        (-185, "-3 min 05 s"),
    ],
)
def test_times_are_in_the_unit_that_people_would_take(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (12_345_678, "12.3 MB"),
        (999_600, "1 MB"),
        (1e18, "1000 PB"),
        (3_000_000_000_000, "3 TB"),
    ],
)
def test_sizes_have_three_digits(count: float, text: str) -> None:
    assert format_bytes(count) == text


def test_other_numbers() -> None:
    assert format_flops(3.412e12) == "3.41 TFLOP"
    assert (format_duration(59.6, 0), format_duration(99.6, 0)) == ("60 s", "1 min 40 s")
    assert [format_compact(number) for number in (0, 512, 12_845, 999_600, 3.37e6)] == [
        "0",
        "512",
        "12.8k",
        "1M",
        "3.37M",
    ]
    assert [format_compact(number) for number in (0.91234, -0.05, 0.0001, 2e15)] == ["0.912", "-0.05", "1e-4", "2e15"]
    assert [format_compact(number, thousands=1e4) for number in (1234, 9_999.6, float("inf"))] == ["1234", "10k", "inf"]
    assert (format_score(0.12345), format_score(1234.5), format_score(None)) == ("0.123", "1,234", "-")
    assert (format_count(1, "run"), format_count(2000, "run"), format_count(2, "strategy", "strategies")) == (
        "1 run",
        "2,000 runs",
        "2 strategies",
    )


def test_of_many_names_the_first_are_given() -> None:
    assert (join_names([]), join_names(["a"]), join_names("abc", 2)) == ("", "a", "a, b, and 1 more")
