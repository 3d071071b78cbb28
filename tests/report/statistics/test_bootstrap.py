"""The bootstrap: its scores are the metrics' own, its intervals cover what they should, and it is quick."""

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score
from tests.configs import make

from frostline.report.read.answers import Classes
from frostline.report.read.runs import RunKey
from frostline.report.statistics.bootstrap import Resampled, bootstrap, moderate_seeds, resample
from frostline.report.statistics.differences import compare_with_reference
from frostline.tasks.multiclass import Multiclass

Answers = dict[RunKey, Classes]
METRICS = Classes.metrics


def drawn(random: np.random.Generator, labels: np.ndarray, right: float, classes: int) -> Classes:
    """Answers that are right with this chance, and else any class."""
    other = random.integers(0, classes, len(labels))
    return Classes(labels, np.where(random.random(len(labels)) < right, labels, other), classes)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 30))
def test_scores_are_those_of_the_metrics_and_of_scikit_learn(seed: int, classes: int, samples: int) -> None:
    """Also with classes that no sample has, and where samples count more than once."""
    random = np.random.default_rng(seed)
    one = drawn(random, random.integers(0, max(2, classes - 1), samples), 0.5, classes)
    weights = random.multinomial(samples, np.full(samples, 1 / samples))
    repeated = np.repeat(np.arange(samples), weights)
    labels, predictions = one.labels[repeated], one.predictions[repeated]
    logits = torch.nn.functional.one_hot(torch.from_numpy(predictions), classes).float() * 9
    expected = make("task/multiclass", label_smoothing=0.0).scores(logits, torch.from_numpy(labels))
    for metric in METRICS:
        (found,) = one.score(weights[None].astype(float), metric)
        assert found == pytest.approx(expected[metric], abs=1e-6), metric
    present = sorted(set(labels) | set(predictions))
    assert expected["f1"] == pytest.approx(f1_score(labels, predictions, average="macro", labels=present), abs=1e-6)
    if len(set(labels)) > 1 and set(predictions) <= set(labels):  # scikit-learn warns otherwise
        assert expected["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predictions), abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_swapped_sides_and_equal_sides(metric: str) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 600)
    first, second = ({("", seed): drawn(random, labels, part, 3) for seed in range(3)} for part in (0.9, 0.4))
    there, back = bootstrap(first, second, metric), bootstrap(second, first, metric)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low)) and there.low > 0
    none = bootstrap(first, first, metric)
    assert (none.low, none.high) == (0, 0)
    assert bootstrap(first, second, metric) == there, "the same numbers every time"
    assert bootstrap(first, second, metric, level=0.99).low < there.low < bootstrap(first, second, metric, 0.5).low


def test_one_run_each_is_the_paired_proportions_known_error() -> None:
    """With one seed and accuracy the error is that of a mean of N values in {-1, 0, 1}, known in closed form."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 400)
    first, second = (drawn(random, labels, part, 2) for part in (0.9, 0.5))
    gaps = (first.predictions == labels).astype(float) - (second.predictions == labels)
    reach = stats.norm.ppf(0.975) * np.std(gaps) / math.sqrt(400)
    found = bootstrap({("", 0): first}, {("", 0): second}, "accuracy", resamples=20_000)
    assert (found.low, found.high) == pytest.approx((gaps.mean() - reach, gaps.mean() + reach), abs=0.002)


def test_the_seeds_part_of_the_error_is_not_too_small() -> None:
    """Where no test sample makes a difference the error is that of a mean of seeds, s / sqrt(n), also over blocks."""
    labels = np.zeros(20, dtype=int)
    right, wrong = Classes(labels, labels, 2), Classes(labels, 1 - labels, 2)
    first = {(block, seed): right for block in "ab" for seed in range(3)}
    second = {(block, seed): right if seed else wrong for block in "ab" for seed in range(3)}
    one = resample({key: first[key] for key in first if key[0] == "a"}, second, "accuracy", resamples=20_000)
    assert one.mean == pytest.approx(1 / 3) and one.error == pytest.approx(1 / 3, rel=0.03)
    assert one.seeds_error == pytest.approx(1 / 3) and one.freedom == 2
    two = resample(first, second, "accuracy", resamples=20_000)
    assert two.error == pytest.approx(1 / 3 / math.sqrt(2), rel=0.03)
    assert two.seeds_error == pytest.approx(1 / 3 / math.sqrt(2)) and two.freedom == pytest.approx(4)


def test_only_what_both_have_counts_and_blocks_weigh_the_same() -> None:
    labels = np.zeros(50, dtype=int)
    right, wrong = Classes(labels, labels, 2), Classes(labels, 1 - labels, 2)
    first = {("a", 0): right, ("a", 1): right, ("a", 2): right, ("b", 0): right, ("b", 9): wrong}
    second = {("a", 0): wrong, ("a", 1): wrong, ("a", 2): wrong, ("b", 0): right, ("c", 0): wrong}
    found = bootstrap(first, second, "accuracy")
    assert (found.low, found.high) == pytest.approx((0.5, 0.5)), "1 in a and 0 in b, however many seeds"


def test_many_test_samples_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 4, 300)
    first, second = ({("", seed): drawn(random, labels, part, 4) for seed in range(3)} for part in (0.8, 0.7))
    whole = bootstrap(first, second, "f1")
    monkeypatch.setattr("frostline.report.statistics.bootstrap.CELLS", 300 * 7)
    parts = bootstrap(first, second, "f1")
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.01)


def world(random: np.random.Generator, seeds: int, spread: float) -> tuple[Answers, Answers]:
    """Two strategies on 200 samples that are hard or easy for both, with a quality of its own for each seed."""
    labels = np.zeros(200, dtype=int)
    ease = random.normal(1, 1.5, 200)
    sides: tuple[Answers, Answers] = ({}, {})
    for seed in range(seeds):
        for side, better in zip(sides, (0.3, 0.0), strict=True):
            right = ease + random.normal(0, 0.7, 200) + random.normal(0, spread) + better > 0
            side["", seed] = Classes(labels, (~right).astype(int), 2)
    return sides


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.0), (3, 0.3), (3, 1.0), (5, 0.3), (1, 0.0)])
def test_intervals_cover_the_true_difference(seeds: int, spread: float) -> None:
    """Over new test samples and new seeds, at least as often as they say; with one seed where seeds do nothing."""
    random = np.random.default_rng(seeds)
    deviation = math.sqrt(1.5**2 + 0.7**2 + spread**2)
    truth = stats.norm.cdf(1.3 / deviation) - stats.norm.cdf(1 / deviation)
    hits = 0
    for trial in range(200):
        found = bootstrap(*world(random, seeds, spread), "accuracy", resamples=200, seed=trial)
        hits += found.low <= truth <= found.high
    assert hits / 200 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)


def test_eight_strategies_take_seconds() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 1000)
    predictions = {
        str(place): {("", seed): drawn(random, labels, 0.9 - place / 25, 10) for seed in range(3)} for place in range(8)
    }
    scores = {
        label: {key: float(f1_score(one.labels, one.predictions, average="macro")) for key, one in found.items()}
        for label, found in predictions.items()
    }
    start = time.process_time()
    found = compare_with_reference(scores, "0", Multiclass.declaration.metric("f1"), predictions)
    assert time.process_time() - start < 8  # about 1.5 on an idle core
    for one in found:
        assert one.bootstrap and one.bootstrap.low < one.mean < one.bootstrap.high
    assert found[-1].apart and not found[0].apart


def spreads(random: np.random.Generator, deviations: Sequence[float], seeds: int) -> list[Resampled]:
    """Return differences that are truly 0, on endless test samples, with these deviations over seeds."""
    found = []
    for deviation in deviations:
        values = random.normal(0, deviation, seeds)
        error = float(np.std(values, ddof=1)) / seeds**0.5
        found.append(Resampled(float(np.mean(values)), error, error, seeds - 1.0))
    return found


@pytest.mark.parametrize("deviations", [[0.01] * 7, [0.005, 0.01, 0.01, 0.01, 0.02, 0.02, 0.05]], ids=["one", "many"])
def test_moderated_intervals_cover_and_are_far_shorter(deviations: list[float]) -> None:
    random = np.random.default_rng(0)
    level, hits, lengths = 1 - 0.05 / 7, 0, []
    for _ in range(400):
        plain = spreads(random, deviations, 3)
        for before, after in zip(plain, moderate_seeds(plain), strict=True):
            own, shared = before.interval(level), after.interval(level)
            hits += shared.low <= 0 <= shared.high
            lengths.append((shared.high - shared.low) / (own.high - own.low))
    assert hits / (400 * 7) > level - 0.01
    assert np.median(lengths) < 0.6


def test_no_spread_is_made_smaller_and_those_that_differ_plainly_stay_apart() -> None:
    found = [Resampled(0.0, error, error, 50.0) for error in (1e-6, 1e-4, 1e-2, 1.0)]
    after = [one.seeds_error for one in moderate_seeds(found)]
    assert all(new >= old.seeds_error for new, old in zip(after, found, strict=True))
    assert after[0] < 1e-5 and after[-1] == 1.0


def test_equal_spreads_share_all_their_degrees_of_freedom() -> None:
    found = [Resampled(0.0, 0.03, 0.02, 2.0) for _ in range(6)]
    for one in moderate_seeds(found):
        assert one.freedom == 12.0
        assert one.error**2 - one.seeds_error**2 == pytest.approx(0.03**2 - 0.02**2)


def test_two_differences_are_too_few_to_share() -> None:
    found = [Resampled(0.0, 0.03, 0.02, 2.0), Resampled(0.0, 0.05, 0.04, 2.0)]
    assert moderate_seeds(found) == found


def test_a_difference_that_never_varies_tells_nothing_of_the_others() -> None:
    found = [Resampled(0.0, 0.03, 0.02, 2.0) for _ in range(6)]
    with_one_more = moderate_seeds([*found, Resampled(0.0, 0.01, 0.0, 2.0)])
    assert with_one_more[:6] == moderate_seeds(found)
    assert with_one_more[6] == Resampled(0.0, 0.01, 0.0, 2.0)
