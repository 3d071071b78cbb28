"""Ranks over data sets, against the example and tables of Demsar 2006 (JMLR 7)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from frostline.report.statistics.ranking import find_cliques, find_critical_difference, iman_davenport, rank_labels

VARIANTS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
# Table 6: the area under the ROC curve on 14 data sets. The two 0.975 of voting are ranked 2 and 3 there, so they
# differed before they were rounded.
TABLE_6 = """
adult 0.763 0.768 0.771 0.798
breast-cancer 0.599 0.591 0.590 0.569
breast-cancer-wisconsin 0.954 0.971 0.968 0.967
cmc 0.628 0.661 0.654 0.657
ionosphere 0.882 0.888 0.886 0.898
iris 0.936 0.931 0.916 0.931
liver-disorders 0.661 0.668 0.609 0.685
lung-cancer 0.583 0.583 0.563 0.625
lymphography 0.775 0.838 0.866 0.875
mushroom 1.000 1.000 1.000 1.000
primary-tumor 0.940 0.962 0.965 0.962
rheum 0.619 0.666 0.614 0.669
voting 0.972 0.981 0.9751 0.9749
wine 0.957 0.978 0.946 0.970
"""
DEMSAR: dict[str, dict[str, float]] = {
    name: dict(zip(VARIANTS, map(float, values), strict=True))
    for name, *values in (line.split() for line in TABLE_6.split("\n") if line)
}


def test_demsars_example() -> None:
    found = rank_labels(DEMSAR, lower_is_better=False)
    assert found and found.why is None and found.n == 14 and found.statistic is not None
    assert list(found.average) == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert [found.average[name] for name in VARIANTS] == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.statistic == pytest.approx(3.69, abs=5e-3)
    assert found.p == pytest.approx(stats.f.sf(found.statistic, 3, 39)) and (found.p or 1) < 0.05
    assert found.critical == pytest.approx(1.25, abs=5e-3)
    assert found.cliques == [["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]], "at 5% the post-hoc test finds nothing"


def test_demsars_example_at_ten_percent() -> None:
    """There C4.5 is worse than both that tune m, and of C4.5+cf nothing can be said."""
    found = rank_labels(DEMSAR, lower_is_better=False, level=0.9)
    assert found and found.critical is not None and found.critical == pytest.approx(1.12, abs=5e-3)
    assert found.cliques == [["C4.5+m+cf", "C4.5+m", "C4.5+cf"], ["C4.5+cf", "C4.5"]]


def test_friedmans_statistic_is_the_published_one() -> None:
    """F_F = 3.69 comes of chi2_F = 9.28: F_F = (N - 1) chi2 / (N (k - 1) - chi2)."""
    statistic, _ = iman_davenport(np.array([3.143, 2.000, 2.893, 1.964]), 14)
    friedman = 14 * 3 * statistic / (13 + statistic)
    assert friedman == pytest.approx(9.28, abs=0.01) and statistic == pytest.approx(3.69, abs=0.01)


def test_nemenyis_critical_values() -> None:
    """Demsar's table 5 (a), for alpha 0.05 and 0.10 and 2 to 10 classifiers."""
    at_5 = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    at_10 = (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920)
    for level, table in ((0.95, at_5), (0.9, at_10)):
        for k, q in enumerate(table, 2):
            found = find_critical_difference(k, 10, level) / math.sqrt(k * (k + 1) / 60)
            assert found == pytest.approx(q, abs=1.5e-3)


@given(st.integers(0, 10_000), st.integers(3, 6), st.integers(5, 9))
def test_without_ties_it_is_scipys_friedman(seed: int, k: int, n: int) -> None:
    scores = np.random.default_rng(seed).permuted(np.tile(np.arange(k), (n, 1)), axis=1)
    found = rank_labels(
        {
            str(row): {str(label): float(value) for label, value in enumerate(values)}
            for row, values in enumerate(scores)
        },
        True,
    )
    expected = stats.friedmanchisquare(*scores.T).statistic
    assert found and found.statistic is not None
    if n * (k - 1) - expected > 1e-6:
        assert found.statistic == pytest.approx((n - 1) * expected / (n * (k - 1) - expected))


def same(order: list[str], n: int) -> dict[str, dict[str, float]]:
    """Blocks that all have the same order, the first best."""
    return {str(block): {name: -float(place) for place, name in enumerate(order)} for block in range(n)}


def test_the_direction_of_the_metric() -> None:
    up, down = rank_labels(same(["a", "b"], 6), False), rank_labels(same(["a", "b"], 6), True)
    assert up and down and up.average == {"a": 1, "b": 2} and list(down.average) == ["b", "a"]


def test_blocks_that_all_agree_have_the_p_value_of_chance() -> None:
    """Five blocks of two come out the same one time in sixteen; F_F alone would say never."""
    found = rank_labels(same(["a", "b"], 5), False)
    assert found and found.p is not None and found.statistic == math.inf
    assert found.p == pytest.approx(1 / 16) and found.cliques == [["a", "b"]]
    surer = rank_labels(same(["a", "b"], 8), False)
    assert surer and surer.p == pytest.approx(1 / 128) and surer.cliques == []


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_blocks_have_ranks_but_no_test(n: int) -> None:
    found = rank_labels(same(["a", "b", "c"], n), False)
    assert found and found.average == {"a": 1, "b": 2, "c": 3} and found.n == n
    assert found.statistic is None and found.p is None and found.critical is None and found.cliques == []
    assert found.why == f"{n} blocks are too few to test ranks, which takes 5."


def test_one_block_or_one_label_has_no_ranks() -> None:
    assert (
        rank_labels({}, False) is None
        and rank_labels(same(["a", "b"], 1), False) is None
        and rank_labels(same(["a"], 9), False) is None
    )


def test_labels_that_lack_a_block_are_left_out() -> None:
    table = same(["a", "b", "c"], 6)
    del table["3"]["b"]
    found = rank_labels(table, False)
    assert found and found.average == {"a": 1, "c": 2}


@given(st.lists(st.floats(1, 8), min_size=2, max_size=8), st.floats(0.1, 4))
def test_cliques_are_all_largest_groups(places: list[float], critical: float) -> None:
    average = {str(number): place for number, place in enumerate(sorted(places))}
    found = find_cliques(average, critical)
    names = list(average)
    for group in found:
        assert len(group) > 1 and average[group[-1]] - average[group[0]] <= critical
    for group in found:
        assert not any(set(group) < set(other) for other in found)
    together = {(a, b) for group in found for a in group for b in group}
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            assert ((first, second) in together) == (average[second] - average[first] <= critical)


def test_false_alarms_are_as_rare_as_they_should_be() -> None:
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        table = {str(block): dict(zip("abcd", random.random(4).tolist(), strict=True)) for block in range(5)}
        found = rank_labels(table, False)
        assert found and found.p is not None
        alarms += found.p < 0.05
    assert alarms / 300 < 0.1
