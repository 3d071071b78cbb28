"""Intervals end where the values do, and lose nothing by it."""

import math

from hypothesis import given
from hypothesis import strategies as st

from frostline.report.statistics.estimates import Interval

ends = st.tuples(st.floats(-3, 3), st.floats(-3, 3)).map(sorted)
bounds = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, math.inf), (-math.inf, 1.0), (-math.inf, math.inf)])


@given(ends, bounds, st.floats(0, 1))
def test_within_its_bounds_an_interval_covers_what_it_covered(
    ends: list[float], bounds: tuple[float, float], share: float
) -> None:
    whole = Interval(*ends)
    part = whole.within(bounds)
    assert bounds[0] <= part.low <= part.high <= bounds[1]
    low, high = max(bounds[0], -3.0), min(bounds[1], 3.0)
    value = low + share * (high - low)  # one that a score may have
    if whole.low <= value <= whole.high:
        assert part.low <= value <= part.high
    elif whole.high >= bounds[0] and whole.low <= bounds[1]:
        assert not part.low <= value <= part.high
