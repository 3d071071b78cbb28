"""Rank agreement is Kendall's, and its interval exact: it covers, and from few items it claims little."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from frostline.profiles.agreement import correlate_ranks, tau_interval

values = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=15)


@given(values)
@settings(max_examples=60)
def test_it_is_kendalls_and_within_its_interval(pairs: list[tuple[int, int]]) -> None:
    ones, others = [float(one) for one, _ in pairs], [float(other) for _, other in pairs]
    found = correlate_ranks(ones, others)
    assert found.n == len(pairs)
    if len(set(ones)) == 1 or len(set(others)) == 1:
        assert found.tau is None and found.interval is None and found.why and "all the same" in found.why
        return
    assert found.tau is not None and found.interval and found.why is None
    assert found.tau == pytest.approx(stats.kendalltau(ones, others)[0])
    assert -1 <= found.interval.low <= found.tau + 1e-9 and found.tau - 1e-9 <= found.interval.high <= 1
    mirrored = correlate_ranks(ones, [-one for one in others]).interval
    assert mirrored and (mirrored.low, mirrored.high) == pytest.approx((-found.interval.high, -found.interval.low))


def test_its_chances_are_those_of_all_orders() -> None:
    """The lower end for a perfect order of 5: the mean tau of a model under which that order has a chance of 2.5%."""
    turned = np.array([sum(a > b for i, a in enumerate(one) for b in one[i:]) for one in permutations(range(5))])
    found = tau_interval(1.0, 5)
    slopes = np.linspace(-3, 3, 6001)
    chances = np.exp(-slopes[:, None] * turned) / np.exp(-slopes[:, None] * turned).sum(axis=1, keepdims=True)
    slope = np.abs(chances[:, turned == 0].sum(axis=1) - 0.025).argmin()
    assert found.low == pytest.approx(float((chances[slope] * (1 - turned / 5)).sum()), abs=2e-3)
    assert found.high == 1


def test_few_items_show_little_and_many_show_more() -> None:
    widths = [tau_interval(0.0, n).high - tau_interval(0.0, n).low for n in (4, 8, 16, 40, 120)]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.3
    assert tau_interval(1.0, 3).low < 0 < tau_interval(1.0, 5).low < tau_interval(1.0, 60).low < 1
    assert tau_interval(0.5, 20, 0.9).low > tau_interval(0.5, 20, 0.95).low


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.9])
def test_it_covers_the_truth(correlation: float) -> None:
    random, true, covered = np.random.default_rng(0), 2 / math.pi * math.asin(correlation), 0
    known: dict[float, bool] = {}
    for _ in range(400):
        first, noise = random.normal(size=(2, 8))
        second = correlation * first + math.sqrt(1 - correlation**2) * noise
        tau = round(float(stats.kendalltau(first, second)[0]), 6)  # type: ignore[arg-type]
        if tau not in known:
            interval = tau_interval(tau, 8)
            known[tau] = interval.low <= true <= interval.high
        covered += known[tau]
    assert covered / 400 > 0.93


def test_what_has_no_correlation_says_why_and_scores_that_are_none_are_left_out() -> None:
    few = correlate_ranks([1.0, None, 3.0, math.nan], [0.1, 0.2, 0.3, 0.4])
    assert few.n == 2 and few.tau is None and few.why == "2 pairs are too few for a rank correlation, which takes 3."
    assert correlate_ranks([], []).n == 0
    whole = correlate_ranks([1.0, None, 3.0, 4.0], [0.1, 0.9, 0.3, 0.4])
    assert whole.n == 3 and whole.tau == 1
