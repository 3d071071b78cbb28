"""Intervals, tests and effects against published examples, against SciPy, and against their own promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from frostline.report.read.answers import Classes
from frostline.report.read.runs import RunKey
from frostline.report.statistics.differences import Difference, compare_with_reference, find_leader, hedges_g, holm
from frostline.report.statistics.estimates import estimate, mean_interval
from frostline.tasks.declarations import AUROC, LOSS, MULTICLASS, Metric

ACCURACY = MULTICLASS.metric("accuracy")
# Student 1908, "The probable error of a mean", Biometrika 6: hours of sleep gained by ten patients with two drugs.
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

numbers = st.floats(-100, 100).map(lambda value: round(value, 3))


def seeds(values: list[float], block: str = "") -> dict[RunKey, float]:
    return {(block, seed): value for seed, value in enumerate(values)}


def answers(right: np.ndarray) -> Classes:
    """Predictions of two classes that are right where ``right`` is true."""
    labels = np.arange(len(right)) % 2
    return Classes(labels, np.where(right, labels, 1 - labels), 2)


def test_students_sleep_data() -> None:
    """As R's t.test(extra ~ group, sleep, paired) prints them: p = 0.002833, interval -2.4598858 to -0.7001142."""
    (found,) = compare_with_reference({"2": seeds(DRUG_2), "1": seeds(DRUG_1)}, "2", Metric("hours"), None)
    assert (found.label, found.reference, found.n, found.why, found.apart) == ("1", "2", 10, None, True)
    assert found.mean == pytest.approx(-1.58)
    assert found.p == pytest.approx(0.002833, abs=5e-7) and found.adjusted == found.p
    assert found.interval
    assert (found.interval.low, found.interval.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


def test_hedges_correction_as_tabulated() -> None:
    """c(m) of Hedges 1981 (Journal of Educational Statistics 6, table 1), for m degrees of freedom."""
    for freedom, c in ((2, 0.5642), (3, 0.7236), (4, 0.7979), (5, 0.8408), (9, 0.9139), (20, 0.9619)):
        values = np.random.default_rng(freedom).normal(1, 1, freedom + 1).tolist()
        g = hedges_g(seeds(values))
        assert g is not None
        assert g / (np.mean(values) / np.std(values, ddof=1)) == pytest.approx(c, abs=1e-4)
    g = hedges_g(seeds([b - a for a, b in zip(DRUG_1, DRUG_2, strict=True)]))
    assert g == pytest.approx(1.2846 * 0.9139, abs=2e-4)  # Cohen's d_z = t / sqrt(n) = 4.0621 / sqrt(10)


def test_effects_that_cannot_be_known() -> None:
    assert hedges_g(seeds([1.0, 2.0])) is None and hedges_g(seeds([2.0, 2.0, 2.0])) is None
    assert hedges_g({("a", 0): 1.0, ("b", 0): 2.0, ("c", 0): 3.0}) is None, "one value a block: no deviation within"


def test_holms_published_examples() -> None:
    """Demsar 2006, 3.2.2: p = .016, .019, .607 pass .017 and .025 but not .05; and R's p.adjust for four."""
    assert holm([0.607, 0.016, 0.019]) == pytest.approx([0.607, 0.048, 0.048])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_its_steps_reject(ps: list[float], level: float) -> None:
    rejected = set()
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        if ps[place] * (len(ps) - rank) > level:
            break
        rejected.add(place)
    assert {place for place, adjusted in enumerate(holm(ps)) if adjusted <= level} == rejected


@given(st.lists(st.tuples(numbers, numbers), min_size=5, max_size=12))
def test_one_block_is_scipys_paired_test(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    gaps = np.subtract(first, second)
    if np.std(gaps) < 1e-3:
        return
    (found,) = compare_with_reference({"a": seeds(list(first)), "b": seeds(list(second))}, "b", LOSS, None)
    expected = stats.ttest_rel(first, second)
    known = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.interval
    assert (found.interval.low, found.interval.high) == pytest.approx((known.low, known.high), rel=1e-6, abs=1e-9)


@given(st.lists(numbers, min_size=2, max_size=6, unique=True), st.lists(numbers, min_size=2, max_size=6, unique=True))
def test_two_blocks_are_welchs(first: list[float], second: list[float]) -> None:
    """The mean of two block means is half of x - (-y), whose interval is Welch's."""
    found = estimate(seeds(first, "a") | seeds(second, "b"))
    known = stats.ttest_ind(first, np.negative(second), equal_var=False).confidence_interval(0.95)
    interval = found.interval()
    assert interval
    assert found.mean == pytest.approx((np.mean(first) + np.mean(second)) / 2, abs=1e-9)
    assert (2 * interval.low, 2 * interval.high) == pytest.approx((known.low, known.high), rel=1e-6, abs=1e-9)


def test_an_interval_needs_two_values() -> None:
    assert mean_interval([]) is None and mean_interval([0.9]) is None
    same = mean_interval([0.9, 0.9, 0.9])
    assert same and (same.low, same.high) == pytest.approx((0.9, 0.9))
    assert estimate({("a", 0): 0.9, ("a", 1): 0.8, ("b", 0): 0.7}).interval() is None


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_cover_the_mean_as_often_as_they_say(n: int, level: float) -> None:
    random = np.random.default_rng(n)
    hits = 0
    for _ in range(1000):
        interval = mean_interval(random.normal(3, 2, n).tolist(), level)
        assert interval
        hits += interval.low <= 3 <= interval.high
    assert hits / 1000 == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 1000))


def test_intervals_over_blocks_cover_too() -> None:
    """Blocks of other means and other spreads, three seeds in each: the error is that of seeds alone."""
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        values = seeds(random.normal(0, 1, 3).tolist(), "a") | seeds(random.normal(9, 4, 3).tolist(), "b")
        interval = estimate(values).interval()
        assert interval
        hits += interval.low <= 4.5 <= interval.high
    assert 0.94 <= hits / 1000 <= 0.99  # Satterthwaite's degrees of freedom err on the wide side


def test_with_few_seeds_there_is_no_p_value() -> None:
    for n in (1, 2, 3, 4):
        (found,) = compare_with_reference({"a": seeds([0.9] * n), "b": seeds([0.1] * n)}, "a", ACCURACY, None)
        assert found.p is None and found.adjusted is None and not found.apart
        assert found.why == f"{n} paired {'run' if n == 1 else 'runs'}: a p-value takes 5 or more."
    blocks = {label: seeds([gap, gap + 0.1], "x") | seeds([gap, 0.3], "y") for label, gap in (("a", 0.5), ("b", 0.2))}
    assert (
        compare_with_reference(blocks, "a", LOSS, None)[0].why
        == "4 paired runs in 2 blocks: a p-value takes 6 or more."
    )
    single = {label: seeds([gap, 0.2, 0.4, 0.5, 0.6], "x") | {("y", 0): gap} for label, gap in (("a", 0.5), ("b", 0.2))}
    assert "one seed only" in str(compare_with_reference(single, "a", LOSS, None)[0].why)


def test_three_seeds_in_two_blocks_are_enough() -> None:
    scores = {
        "a": seeds([0.90, 0.91, 0.92], "x") | seeds([0.50, 0.52, 0.51], "y"),
        "b": seeds([0.80, 0.82, 0.81], "x") | seeds([0.40, 0.41, 0.42], "y"),
    }
    (found,) = compare_with_reference(scores, "a", AUROC, None)
    assert found.why is None and found.p is not None and found.p < 0.01 and found.apart and found.n == 6


def test_differences_that_never_vary_have_no_p_value() -> None:
    """Solved heads come out the same for every seed: that is no proof, and no division by zero."""
    (found,) = compare_with_reference({"a": seeds([0.3] * 6), "b": seeds([0.1 + 0.2] * 6)}, "a", LOSS, None)
    assert found.p is None and found.effect is None and "same for every seed" in str(found.why)
    assert found.mean == pytest.approx(0, abs=1e-12)
    varying = [0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    (rounded,) = compare_with_reference(
        {"a": seeds(varying), "b": seeds([one + 0.1 for one in varying])}, "a", LOSS, None
    )
    assert rounded.p is None and rounded.effect is None, "0.30000000000000004 - 0.2 is no other difference than 0.1"


def test_rivals_are_compared_on_what_both_have() -> None:
    scores = {"a": seeds([0.9, 0.8, 0.9, 0.8, 0.7]), "b": {("", 1): 0.7, ("", 7): 0.1}, "c": {("", 9): 0.5}, "d": {}}
    b, c = compare_with_reference(scores, "a", ACCURACY, None)
    assert (b.n, b.mean) == (1, pytest.approx(-0.1))
    assert c.n == 0 and math.isnan(c.mean) and c.why == "The two have no finished run in common." and not c.apart


def test_both_seeds_and_test_samples_must_tell_apart() -> None:
    """Ten seeds that always win by 1 in 40 samples: sure on this test set, unsure on another one."""
    right = np.arange(40) < 30
    predictions = {"a": {}, "b": {}}
    for seed in range(10):
        predictions["a"]["", seed] = answers(np.roll(right, 1) | (np.arange(40) == 35 + seed % 2))
        predictions["b"]["", seed] = answers(right)
    predictions["b"]["", 3] = answers(right & (np.arange(40) != 5))
    scores = {
        label: {key: float(np.mean(one.labels == one.predictions)) for key, one in found.items()}
        for label, found in predictions.items()
    }
    (seeds_only,) = compare_with_reference(scores, "a", ACCURACY, None)
    (found,) = compare_with_reference(scores, "a", ACCURACY, predictions)
    assert seeds_only.apart and found.p == seeds_only.p and found.adjusted is not None and found.adjusted < 0.001
    assert found.bootstrap and found.bootstrap.low < 0 < found.bootstrap.high and not found.apart


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_seeds_are_judged_by_the_bootstrap(count: int) -> None:
    random = np.random.default_rng(count)
    share = {"good": 0.9, "close": 0.89, "bad": 0.5}
    predictions = {
        label: {("", seed): answers(random.random(500) < part) for seed in range(count)}
        for label, part in share.items()
    }
    scores = {
        label: {key: float(np.mean(one.labels == one.predictions)) for key, one in found.items()}
        for label, found in predictions.items()
    }
    close, bad = compare_with_reference(scores, "good", ACCURACY, predictions)
    assert bad.apart and bad.bootstrap and bad.bootstrap.high < 0 and bad.p is None
    assert not close.apart
    untested = compare_with_reference(
        scores, "good", ACCURACY, {label: predictions[label] for label in ("good", "close")}
    )[1]
    assert untested.bootstrap is None and not untested.apart, "without predictions few seeds tell nothing apart"
    assert not any(found.apart for found in compare_with_reference(scores, "good", LOSS, predictions))


def test_the_bootstrap_too_is_corrected_for_the_number_of_rivals() -> None:
    """15 in 400 samples against 4 is apart at 5%, and no longer where it is one of eight."""
    best, rival = np.ones(400, dtype=bool), np.ones(400, dtype=bool)
    best[:4], rival[4:19] = False, False
    predictions = {"best": {("", 0): answers(best)}} | {str(number): {("", 0): answers(rival)} for number in range(8)}
    scores = {label: {("", 0): float(np.mean(best if label == "best" else rival))} for label in predictions}
    pair = {label: scores[label] for label in ("best", "0")}
    assert compare_with_reference(pair, "best", ACCURACY, predictions)[0].apart
    assert not any(found.apart for found in compare_with_reference(scores, "best", ACCURACY, predictions))


def test_the_truly_best_is_seldom_told_apart() -> None:
    """Hsu's promise where it is hardest: six strategies that are equally good, the leader picked by their scores."""
    random = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        scores = {str(label): seeds(random.normal(0.9, 0.01, 5).tolist()) for label in range(6)}
        best = find_leader(scores, ACCURACY)
        assert best
        missed += any(
            found.label == "0" and found.apart for found in compare_with_reference(scores, best, ACCURACY, None)
        )
    assert missed / 300 < 0.05


def test_the_leader() -> None:
    assert find_leader({}, ACCURACY) is None and find_leader({"a": {}}, ACCURACY) is None
    scores = {"a": seeds([0.8, 0.9]), "b": seeds([0.9, 0.85]), "c": {}}
    assert find_leader(scores, ACCURACY) == "b" and find_leader(scores, LOSS) == "a"
    lucky = {"a": seeds([0.9, 0.9], "easy") | seeds([0.5, 0.5], "hard"), "b": seeds([0.95, 0.95], "easy")}
    assert find_leader(lucky, ACCURACY) == "a", "a mean without the hard block compares with nobody's"
    partial = {"a": seeds([0.9, 0.8, 0.1]), "b": seeds([0.88, 0.79])}
    assert find_leader(partial, ACCURACY) == "a", "a mean without a seed that the others have compares with nobody's"
    crashed = {"a": seeds([0.9, 0.9, 0.5]), "b": seeds([0.85, 0.85, 0.85]), "c": seeds([0.1, 0.1])}
    assert find_leader(crashed, ACCURACY) == "b", "a failed run of one says nothing about two others"
    apart = {"a": {("", 0): 0.5}, "b": {("", 1): 0.6}}
    assert find_leader(apart, ACCURACY) == "b"


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=2, max_size=4))
def test_nothing_is_ever_apart_without_evidence(values: list[list[float]]) -> None:
    scores = {str(place): seeds(found) for place, found in enumerate(values)}
    best = find_leader(scores, ACCURACY)
    assert best is not None
    for found in compare_with_reference(scores, best, ACCURACY, None):
        assert isinstance(found, Difference) and (found.p is None) == (found.why is not None)
        assert not found.apart or (found.adjusted is not None and found.adjusted < 0.05)
