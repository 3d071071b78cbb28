"""Intervals end where the values do, cover what they promise, and have a width where no sample is wrong."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from frostline.intervals import (
    Interval,
    count_samples_needed,
    find_least_difference,
    paired_mean_interval,
    paired_share_interval,
    share_interval,
)

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


@pytest.mark.parametrize(
    ("count", "total", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]
)
def test_the_interval_of_a_share_is_that_of_the_literature(count: int, total: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3."""
    found = share_interval(count, total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 400), st.data())
def test_the_interval_of_a_share_is_scipys_and_mirrors(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    found, other = share_interval(count, total, 0.9), share_interval(total - count, total, 0.9)
    theirs = stats.binomtest(count, total).proportion_ci(0.9, "wilson")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert (found.low, found.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)
    assert 0 <= found.low <= count / total <= found.high <= 1 and found.low < found.high


def pairs(both: int, first: int, second: int, neither: int) -> tuple[list[bool], list[bool]]:
    """Return two columns of right and wrong, by how many samples both, one alone and neither have right."""
    ones = [True] * (both + first) + [False] * (second + neither)
    others = [True] * both + [False] * first + [True] * second + [False] * neither
    return ones, others


def test_the_interval_of_a_paired_difference_is_that_of_the_literature() -> None:
    """Newcombe 1998, Statistics in Medicine 17, 2635, table III, method 10."""
    found = paired_share_interval(*pairs(36, 12, 2, 0))
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@given(st.tuples(*[st.integers(0, 40)] * 4).filter(any))
def test_a_paired_difference_mirrors_and_stays_within_its_bounds(counts: tuple[int, int, int, int]) -> None:
    first, second = pairs(*counts)
    found, mirrored = paired_share_interval(first, second), paired_share_interval(second, first)
    difference = (counts[1] - counts[2]) / sum(counts)
    assert -1 <= found.low <= difference <= found.high <= 1 and found.low < found.high
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-12)


def test_samples_that_agree_make_a_difference_surer() -> None:
    agreeing, crossed = paired_share_interval(*pairs(80, 5, 5, 10)), paired_share_interval(*pairs(70, 15, 15, 0))
    assert agreeing.high - agreeing.low < crossed.high - crossed.low


@pytest.mark.parametrize("chances", [(0.7, 0.1, 0.1, 0.1), (0.85, 0.1, 0.02, 0.03), (0.9, 0.0, 0.0, 0.1)])
def test_a_paired_difference_covers_the_truth(chances: tuple[float, ...]) -> None:
    """Over every outcome of 16 samples, each with its chance."""
    total, covered = 16, 0.0
    for both, first, second in product(range(total + 1), repeat=3):
        if both + first + second <= total:
            counts = both, first, second, total - both - first - second
            found = paired_share_interval(*pairs(*counts))
            if found.low <= chances[1] - chances[2] <= found.high:
                covered += float(stats.multinomial.pmf(counts, total, chances))
    assert covered > 0.93


def test_a_paired_mean_is_students_and_unknown_where_nothing_varies() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 30))
    found = paired_mean_interval(first.tolist(), second.tolist(), 0.9)
    theirs = stats.ttest_rel(first, second).confidence_interval(0.9)
    assert found and (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert paired_mean_interval([1.0], [2.0]) is None and paired_mean_interval([1.0, 2.0], [1.0, 2.0]) is None


@pytest.mark.parametrize(("difference", "share", "samples"), [(0.4, 0.5, 23), (0.15, 0.45, 155)])
def test_the_samples_that_a_difference_needs_are_those_of_others(difference: float, share: float, samples: int) -> None:
    """Which reckon by Connor 1987 as well: powerandsamplesize.com and R's MESS the first, clinicaltrials-tools both."""
    assert count_samples_needed(difference, share) == samples


@pytest.mark.parametrize(("difference", "share"), [(0.05, 0.1), (0.05, 0.3), (0.1, 0.2), (0.1, 0.5), (0.02, 0.05)])
def test_so_many_samples_show_the_difference_four_times_of_five(difference: float, share: float) -> None:
    """The chance that McNemar's test tells two candidates apart, over every number of samples that differ."""
    samples, chance = count_samples_needed(difference, share), 0.0
    for differing in range(1, samples + 1):
        firsts = np.arange(differing + 1)
        told = np.abs(2 * firsts - differing) > 1.959964 * math.sqrt(differing)
        powers = stats.binom.pmf(firsts, differing, (share + difference) / 2 / share)
        chance += float(stats.binom.pmf(differing, samples, share) * powers[told].sum())
    assert chance == pytest.approx(0.8, abs=0.03)


@given(st.integers(1, 20_000), st.floats(0.01, 1))
def test_the_least_difference_is_the_one_that_needs_these_samples(samples: int, share: float) -> None:
    least = find_least_difference(samples, share)
    if least is None:
        assert count_samples_needed(share, share) > samples
    else:
        assert count_samples_needed(least, share) <= samples
        assert least <= share and count_samples_needed(least * 0.99, share) >= samples


@pytest.mark.parametrize(("difference", "share"), [(0.0, 0.1), (0.2, 0.1), (0.1, 1.1)])
def test_a_difference_larger_than_what_differs_is_refused(difference: float, share: float) -> None:
    with pytest.raises(ValueError, match="is answered differently"):
        count_samples_needed(difference, share)
