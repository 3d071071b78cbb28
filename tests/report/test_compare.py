"""Statistics against values worked out by hand."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.report.compare import (
    Failure,
    close,
    data_warnings,
    main_metric,
    measure,
    pooled_deviation,
    rows,
    summarise,
    verdict,
)


def record(accuracy: float, **changes: Any) -> dict[str, Any]:
    scores = {"accuracy": accuracy, "balanced_accuracy": accuracy, "f1": accuracy, "loss": 1 - accuracy}
    found = {
        "status": "done",
        "config": {"monitor": "accuracy", "data": {}},
        "data": {"fingerprint": "a" * 64, "counts": {"train": 8}, "classes": ["cat", "dog"]},
        "parameters": {"total": 100, "trainable": [10, 90, 50]},
        "metrics": {"test": scores},
        "cost": {"seconds": 10.0, "seconds_saved": 2.0},
    }
    return found | changes


def runs(**values: list[float]) -> list[dict[str, Any]]:
    return [
        {"label": label, "seed": seed, "record": record(value)}
        for label, found in values.items()
        for seed, value in enumerate(found)
    ]


def said(**values: list[float]) -> str:
    return verdict(rows(runs(**values), "accuracy"), "accuracy")


def test_mean_and_sample_deviation() -> None:
    summary = summarise([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])  # squared distances from 5 add up to 32
    assert summary.mean == 5.0
    assert summary.deviation == pytest.approx(math.sqrt(32 / 7))
    assert summary.n == 8


def test_a_single_value_has_no_deviation() -> None:
    assert summarise([0.5]).deviation is None


def test_pooled_deviation_weighs_by_degrees_of_freedom() -> None:
    first, second = summarise([1.0, 2.0, 3.0]), summarise([0.0, 4.0])  # variances 1 (2 degrees) and 8 (1 degree)
    assert pooled_deviation(first, second) == pytest.approx(math.sqrt((2 * 1 + 1 * 8) / 3))


def test_close_means_one_pooled_deviation_at_most() -> None:
    base = summarise([1.0, 2.0, 3.0])  # deviation 1
    assert close(base, summarise([2.0, 3.0, 4.0]))
    assert not close(base, summarise([2.1, 3.1, 4.1]))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6), st.lists(st.floats(-1, 1), min_size=2, max_size=6))
def test_pooled_deviation_lies_between_the_two(first: list[float], second: list[float]) -> None:
    one, two = summarise(first), summarise(second)
    low, high = sorted([one.deviation or 0.0, two.deviation or 0.0])
    assert low - 1e-9 <= pooled_deviation(one, two) <= high + 1e-9
    assert close(one, two) == close(two, one)


def test_rows_are_sorted_by_mean_and_seeds_in_order() -> None:
    found = rows([*reversed(runs(low=[0.1, 0.3], high=[0.8, 0.9]))], "accuracy")
    assert [row.label for row in found] == ["high", "low"]
    assert found[1].score("accuracy").values == (0.1, 0.3)
    assert found[0].trainable() == (50, 90)


def test_a_loss_is_better_when_lower() -> None:
    found = rows(runs(low=[0.1], high=[0.9]), "loss")
    assert [row.label for row in found] == ["high", "low"]


def test_main_metric_is_the_monitor() -> None:
    assert main_metric([{"config": {"monitor": "f1"}}]) == "f1"
    assert main_metric([{}]) == "accuracy"


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "0.5", True])
def test_a_missing_metric_is_a_failure_never_zero(value: object) -> None:
    broken = record(0.5)
    broken["metrics"]["test"]["accuracy"] = value
    found = measure({"label": "full", "seed": 3, "record": broken}, "accuracy")
    assert isinstance(found, Failure) and found.status == "failed" and "metrics.test.accuracy" in found.reason


def test_failures_keep_their_status_and_reason() -> None:
    failed = {"status": "diverged", "reason": "the loss is NaN in epoch 2"}
    given = [
        {"label": "full", "seed": 0, "record": failed},
        {"label": "full", "seed": 1, "record": None},
        {"label": "full", "seed": 2, "record": record(0.5)},
    ]
    (row,) = rows(given, "accuracy")
    assert [failure.status for failure in row.failures] == ["diverged", "missing"]
    assert row.failures[0].reason == "the loss is NaN in epoch 2"
    assert row.score("accuracy").values == (0.5,)


def test_verdict_names_the_best_and_those_close_to_it() -> None:
    text = said(full=[0.90, 0.92, 0.94], near=[0.89, 0.91, 0.93], far=[0.5, 0.5, 0.5])
    assert "full has the best mean test accuracy, 0.920 (standard deviation 0.020, n = 3)" in text
    assert "within one pooled standard deviation of it: near (0.910, n = 3)." in text
    assert "far" not in text


def test_verdict_says_when_nothing_is_close() -> None:
    assert "no other strategy comes within" in said(full=[0.9, 0.91, 0.92], far=[0.5, 0.5, 0.5])


def test_verdict_ranks_nothing_with_fewer_than_three_seeds() -> None:
    assert said(full=[0.9, 0.9], other=[0.1]).startswith("Too few seeds to rank")
    assert "Too few seeds to rank: other (n = 1)." in said(full=[0.9, 0.91, 0.92], other=[0.95])


def test_verdict_without_a_result() -> None:
    found = rows([{"label": "full", "seed": 0, "record": None}], "accuracy")
    assert "No run finished" in verdict(found, "accuracy")


def test_differing_data_is_warned_of() -> None:
    given = runs(full=[0.9], other=[0.8])
    assert data_warnings(given) == []
    given[1]["record"]["data"]["fingerprint"] = "b" * 64
    (warning,) = data_warnings(given)
    assert "not comparable" in warning and "aaaaaaaaaaaa, bbbbbbbbbbbb" in warning


def test_examples_drawn_by_seed_may_differ_between_seeds_only() -> None:
    given = runs(full=[0.9, 0.8], other=[0.8, 0.7])
    for run in given:
        run["record"]["config"] = {"data": {"num_per_class": 5}}
        run["record"]["data"]["fingerprint"] = str(run["seed"]) * 64
    assert data_warnings(given) == []
    given[0]["record"]["data"]["fingerprint"] = "c" * 64
    assert "of seed 0 " in data_warnings(given)[0]
