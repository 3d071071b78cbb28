"""The verdict says what the statistics allow, in sentences that can be read aloud, and no more."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.intervals import Interval
from frostline.report.read.runs import RunKey
from frostline.report.statistics.differences import Difference, compare_with_reference, find_leader
from frostline.report.statistics.estimates import group_by_block
from frostline.report.statistics.ranking import rank_labels
from frostline.report.statistics.verdict import Verdict, reach_verdict
from frostline.tasks.declarations import LOSS, MULTICLASS, Metric

ACCURACY = MULTICLASS.metric("accuracy")
COSTS = {"probe": 5.0, "last": 20.0, "full": 100.0, "scratch": 90.0}


def seeds(*values: float, block: str = "") -> dict[RunKey, float]:
    return {(block, seed): value for seed, value in enumerate(values)}


def noisy(mean: float, count: int, place: int, block: str = "") -> dict[RunKey, float]:
    """Scores with exactly this mean and a deviation of about 0.01, other ones for each place."""
    noise = np.random.default_rng(place).normal(0, 0.01, count)
    return seeds(*(mean + noise - noise.mean()).tolist(), block=block)


def judge(
    scores: Mapping[str, Mapping[RunKey, float]],
    metric: Metric = ACCURACY,
    failures: Mapping[str, int] | None = None,
    costs: Mapping[str, float] = COSTS,
) -> Verdict:
    best = find_leader(scores, metric)
    blocks: dict[str, dict[str, float]] = {}
    for label, found in scores.items():
        for block, values in group_by_block(found).items():
            blocks.setdefault(block, {})[label] = round(float(np.mean(values)), 6)
    found = compare_with_reference(scores, best, metric, None) if best else []
    return reach_verdict(
        scores, found, rank_labels(blocks, metric.lower_is_better), costs, "training time", metric, failures or {}
    )


def drawn(label: str, reference: str, n: int, mean: float, apart: bool) -> Difference:
    """A difference that only the bootstrap has judged."""
    interval = Interval(mean - 0.01, mean + 0.01)
    why = f"{n} paired runs: a p-value takes 5 or more."
    return Difference(label, reference, n, mean, None, None, None, None, interval, apart, why)


def test_five_seeds() -> None:
    scores = {
        "full": seeds(0.89, 0.90, 0.91, 0.90, 0.90),
        "last": noisy(0.898, 5, 2),
        "probe": noisy(0.80, 5, 3),
        "scratch": noisy(0.30, 5, 4),
    }
    found = judge(scores)
    assert (found.best, found.ties, found.cheapest) == ("full", ("last",), "last")
    assert found.sentence == (
        "full has the best mean test accuracy: 0.900 (95% interval 0.891 to 0.909, 5 seeds). "
        "last cannot be told apart from it. The cheapest of the two in training time is last, at 20% of full's. "
        "Judged by paired t-tests (Holm's correction, 5% level)."
    )


def test_a_clear_winner() -> None:
    found = judge({"full": noisy(0.90, 6, 1), "probe": noisy(0.80, 6, 2), "scratch": noisy(0.3, 6, 3)})
    assert (found.best, found.ties, found.cheapest) == ("full", (), "full")
    assert "It can be told apart from all others. Judged by" in found.sentence and "cheapest" not in found.sentence
    assert "told apart from the other one" in judge({"a": noisy(0.9, 6, 1), "b": noisy(0.5, 6, 2)}).sentence


def test_the_best_may_be_the_cheapest() -> None:
    found = judge({"probe": noisy(0.90, 5, 1), "full": noisy(0.899, 5, 2), "last": noisy(0.899, 5, 3)})
    assert found.cheapest == "probe" and "probe is also the cheapest of these three in training time." in found.sentence
    assert "None of the other two can be told apart from it." in found.sentence


def test_three_seeds_have_no_p_value() -> None:
    scores = {"full": noisy(0.90, 3, 1), "last": noisy(0.89, 3, 2), "scratch": noisy(0.3, 3, 3)}
    found = [drawn("last", "full", 3, -0.01, False), drawn("scratch", "full", 3, -0.6, True)]
    said = reach_verdict(scores, found, None, COSTS, "training time", ACCURACY, {})
    assert (said.best, said.ties, said.cheapest) == ("full", ("last",), "last")
    assert "3 seeds). last cannot be told apart from it." in said.sentence
    assert said.sentence.endswith(
        "3 paired runs: a p-value takes 5 or more. "
        "Judged by a bootstrap over seeds and test samples instead (5% level)."
    )


def test_three_seeds_without_predictions_judge_nothing() -> None:
    found = judge({"full": seeds(0.9, 0.91, 0.92), "probe": seeds(0.5, 0.51, 0.49)})
    assert found.ties == ("probe",) and found.cheapest is None, "nobody is recommended for want of evidence"
    assert "Whether another one is truly worse cannot be told. 3 paired runs" in found.sentence
    assert "cheapest" not in found.sentence


@pytest.mark.parametrize(
    ("count", "shown", "said"),
    [
        (1, "test accuracy: 0.900 (1 seed)", "with one seed, what another would change is not known; only the chance"),
        (2, "mean test accuracy: 0.900 (2 seeds)", "two seeds hardly show what another would change"),
    ],
)
def test_one_and_two_seeds_are_a_hint(count: int, shown: str, said: str) -> None:
    scores = {"full": seeds(*[0.9] * count), "last": seeds(*[0.85] * count), "scratch": seeds(*[0.2] * count)}
    found = [drawn("last", "full", count, -0.05, False), drawn("scratch", "full", count, -0.7, True)]
    sentence = reach_verdict(scores, found, None, COSTS, "training time", ACCURACY, {}).sentence
    assert sentence.startswith(f"full has the best {shown}. last cannot be told apart from it.")
    assert f"This is a hint and no finding: {said}" in sentence and "interval" not in sentence


def test_no_run_and_one_strategy() -> None:
    none = judge({}, failures={"full": 2, "probe": 1})
    assert none == Verdict(
        "No run finished, so there is nothing to compare. Runs without a result: full 2 and probe 1.", None, (), None
    )
    assert judge({"full": {}}).best is None
    one = judge({"full": seeds(0.9, 0.8, 0.85)})
    assert (one.best, one.ties, one.cheapest) == ("full", (), "full")
    assert one.sentence.startswith("full has a mean test accuracy of 0.850 (95% interval")
    assert one.sentence.endswith("there is no other strategy to compare it with.")
    assert judge({"full": seeds(0.9)}).sentence.startswith("full has a test accuracy of 0.900 (1 seed);")


def test_where_lower_is_better() -> None:
    found = judge({"full": noisy(0.2, 5, 1), "last": noisy(0.21, 5, 2), "probe": noisy(0.9, 5, 3)}, metric=LOSS)
    assert found.best == "full" and found.ties == ("last",)
    assert found.sentence.startswith("full has the lowest mean test loss: 0.200")
    assert (
        "lowest mean test calibration error"
        in judge({"a": noisy(0.1, 5, 1), "b": noisy(0.3, 5, 2)}, MULTICLASS.metric("calibration_error")).sentence
    )


def test_ties_come_in_order_and_failures_never_count() -> None:
    scores = {"last": noisy(0.895, 5, 2), "probe": noisy(0.897, 5, 3), "full": noisy(0.90, 5, 1), "scratch": {}}
    found = judge(scores, failures={"scratch": 5, "full": 0})
    assert found.ties == ("probe", "last") and found.cheapest == "probe"
    assert "None of the other two can" in found.sentence and found.sentence.endswith(
        "Runs without a result: scratch 5."
    )


def test_without_costs_nothing_is_the_cheapest() -> None:
    found = judge({"full": noisy(0.9, 5, 1), "last": noisy(0.899, 5, 2)}, costs={})
    assert found.cheapest is None and "cheapest" not in found.sentence
    free = judge({"full": noisy(0.9, 5, 1), "last": noisy(0.899, 5, 2)}, costs={"full": 0.0, "last": 1.0})
    assert free.cheapest == "full"
    tiny = judge({"full": noisy(0.9, 5, 1), "last": noisy(0.899, 5, 2)}, costs={"full": 1e6, "last": 1.0})
    assert "at less than 1% of full's" in tiny.sentence


def over(blocks: Mapping[str, Mapping[str, float]], count: int = 3) -> dict[str, dict[RunKey, float]]:
    """Scores by label from means by block and label."""
    found: dict[str, dict[RunKey, float]] = {}
    for block, means in blocks.items():
        for place, (label, mean) in enumerate(means.items()):
            found.setdefault(label, {}).update(noisy(mean, count, place, block))
    return found


def test_two_blocks() -> None:
    each = judge(over({"digits": {"full": 0.95, "probe": 0.80}, "mnist": {"full": 0.70, "probe": 0.50}}))
    assert each.sentence.startswith("full has the best mean test accuracy over 2 blocks: 0.82")
    assert "3 seeds in each)" in each.sentence and "paired t-tests" in each.sentence
    assert each.sentence.endswith("full has the best mean in each of the two blocks.")
    mixed = judge(over({"digits": {"full": 0.95, "probe": 0.80}, "mnist": {"full": 0.65, "probe": 0.70}}))
    assert mixed.best == "full"
    assert mixed.sentence.endswith("full has the best mean in one of the two blocks; probe leads in mnist.")


def test_enough_blocks_are_ranked() -> None:
    table = {f"set{place}": {"full": 0.9 - place / 50, "last": 0.85 - place / 50, "probe": 0.5} for place in range(10)}
    found = judge(over(table))
    assert "By rank over 10 blocks, full comes first (Friedman, p < 0.001); last cannot be told" in found.sentence
    assert "(Nemenyi)" in found.sentence
    level: dict[str, dict[str, float]] = {f"set{place}": dict.fromkeys("abc", 0.9) for place in range(6)}
    assert (
        "By rank over 6 blocks no strategy can be told apart from another (Friedman, p = "
        in judge(over(level)).sentence
    )


def test_one_seed_on_many_data_sets_is_judged_by_ranks() -> None:
    table = {f"set{place}": {"full": 0.9 - place / 50, "last": 0.85 - place / 50, "probe": 0.5} for place in range(10)}
    found = judge(over(table, count=1))
    assert "1 seed in each). " in found.sentence and "hint" not in found.sentence
    assert "One seed in a block says nothing about chance; the ranks over the blocks do." in found.sentence
    assert "By rank over 10 blocks, full comes first" in found.sentence


def test_missing_runs_are_named() -> None:
    scores = over(
        {"digits": {"full": 0.90, "probe": 0.80}, "mnist": {"full": 0.70, "probe": 0.60, "last": 0.95}}, count=5
    )
    del scores["probe"]["digits", 4]
    found = judge(scores, failures={"last": 5, "probe": 1})
    assert found.best == "full", "last has the best mean, of the easy half"
    assert "probe and last lack runs and are compared on those that both sides have." in found.sentence
    assert "On these, last did better than the best over all." in found.sentence
    assert "last" not in found.ties and found.sentence.endswith("Runs without a result: last 5 and probe 1.")


def test_strategies_that_share_no_run() -> None:
    found = judge({"full": {("", 0): 0.9}, "probe": {("", 1): 0.2}})
    assert found.ties == () and "probe shared no run with the best, so nothing was compared." in found.sentence


labels = st.sampled_from(["full", "last", "probe", "scratch"])
keys = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5))
tables = st.dictionaries(labels, st.dictionaries(keys, st.floats(0, 1), max_size=12), max_size=4)


@given(tables, st.sampled_from(MULTICLASS.metrics))
def test_any_scores_get_a_verdict(scores: dict[str, dict[RunKey, float]], metric: Metric) -> None:
    found = judge(scores, metric, failures={"full": 1})
    assert found.sentence.endswith("full 1.") and "None," not in found.sentence and "nan" not in found.sentence
    assert (found.best is None) == (not any(scores.values()))
    assert found.best not in found.ties and found.cheapest in (None, found.best, *found.ties)
