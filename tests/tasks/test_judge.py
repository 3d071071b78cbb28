"""Scores on validation with their intervals: the textbook's where there is one, and the same samples are paired."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frostline.intervals import paired_mean_interval, share_interval
from frostline.tasks.judge import Judge, jackknife
from frostline.tasks.multiclass import Multiclass
from frostline.tasks.regression import Regression

TASK = Multiclass(label_smoothing=0.0, class_weights=None)


def outputs_for(labels: torch.Tensor, share: float, classes: int = 3, seed: int = 0) -> torch.Tensor:
    """Return logits of which about a share is right."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(labels), classes, generator=random)
    right = torch.rand(len(labels), generator=random) < share
    return logits + 9 * right[:, None] * torch.nn.functional.one_hot(labels, classes)


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=40))
def test_a_mean_left_out_one_by_one_has_students_interval(values: list[float]) -> None:
    numbers = torch.tensor(values, dtype=torch.float64)
    without = (numbers.sum() - numbers) / (len(values) - 1)
    expected, found = paired_mean_interval(values, [0.0] * len(values)), jackknife(float(numbers.mean()), without)
    assert found is not None
    if expected is not None:
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_share_has_wilsons_interval() -> None:
    labels = torch.arange(90) % 3
    outputs = outputs_for(labels, 0.7)
    right = int((outputs.argmax(dim=1) == labels).sum())
    found = Judge(TASK, "accuracy", labels).judge(outputs)
    assert found.value == pytest.approx(right / 90) and found.interval == share_interval(right, 90)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auroc", "loss", "balanced_accuracy"])
def test_a_reading_is_level_with_itself_and_ahead_of_a_poor_one(metric: str) -> None:
    labels = torch.arange(240) % 3
    judge = Judge(TASK, metric, labels)
    good, poor = (judge.judge(outputs_for(labels, share, seed=seed)) for seed, share in enumerate((0.95, 0.3)))
    assert good.interval is not None and good.value is not None
    assert good.interval.low < good.value < good.interval.high
    level, ahead = judge.measure_gap(good, good), judge.measure_gap(good, poor)
    assert level is not None and ahead is not None
    assert level.low <= 0 <= level.high and ahead.low > 0, "more is better of a gap, whatever the metric"


def test_intervals_of_a_score_that_is_no_mean_hold_the_truth_as_often_as_they_say() -> None:
    """The root of the mean square error of normal errors is their deviation; 200 times 60 samples."""
    random, task, hits = torch.Generator().manual_seed(0), Regression(loss="mse"), 0
    task.fit(torch.tensor([-1.0, 1.0]), [])
    for _ in range(200):
        labels = torch.randn(60, generator=random, dtype=torch.float64)
        found = Judge(task, "rmse", labels).judge(torch.zeros(60, 1))
        assert found.interval is not None
        hits += found.interval.low <= 1 <= found.interval.high
    assert 180 <= hits <= 200


def test_a_score_that_is_undefined_has_neither_value_nor_interval() -> None:
    labels = torch.zeros(12, dtype=torch.int64)
    found = Judge(TASK, "auroc", labels).judge(outputs_for(labels, 0.5))
    assert found.value is None and found.interval is None
    lone = Judge(TASK, "f1", torch.tensor([1])).judge(torch.tensor([[0.0, 1.0]]))
    assert lone.value == 1.0 and lone.interval is None
