"""Numbers: scores in the labels' own units against SciPy and scikit-learn, and labels that are no numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from tests.configs import make
from torch.nn import functional

from frostline.errors import UserError
from frostline.tasks.regression import Regression


def fitted(labels: torch.Tensor, loss: str = "mse") -> Regression:
    task = Regression(loss)  # type: ignore[arg-type]
    task.fit(labels, [])
    return task


@given(seed=st.integers(0, 9999), samples=st.integers(3, 60), ties=st.booleans())
def test_scores_are_in_the_labels_units(seed: int, samples: int, ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randn(samples, generator=generator) * 30 + 500
    labels = (labels / 20).round() * 20 + torch.arange(samples) % 2 if ties else labels
    task = fitted(labels)
    outputs = task.targets(labels) + torch.randn(samples, 1, generator=generator)
    values, truth = (outputs[:, 0].double() * task.deviation + task.mean).numpy(), labels.double().numpy()
    expected = {
        "rmse": sk.root_mean_squared_error(truth, values),
        "mae": sk.mean_absolute_error(truth, values),
        "r2": sk.r2_score(truth, values),
        "pearson": np.corrcoef(values, truth)[0, 1],
        "spearman": np.corrcoef(stats.rankdata(values), stats.rankdata(truth))[0, 1],
        "loss": float(functional.mse_loss(outputs[:, 0], (labels - task.mean) / task.deviation)),
    }
    found = task.scores(outputs, labels)
    assert tuple(found) == task.metrics and found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert float(task.hits(outputs, labels)) / samples == pytest.approx(found["mae"], rel=1e-5)


def test_the_head_learns_targets_of_mean_0_and_deviation_1() -> None:
    labels = torch.tensor([10.0, 20.0, 40.0])
    task = fitted(labels)
    targets = task.targets(labels)
    assert targets.mean() == pytest.approx(0, abs=1e-6) and targets.std(correction=0) == pytest.approx(1)
    assert task.known() == pytest.approx({"mean": 70 / 3, "deviation": float(labels.std(correction=0))})
    (row,) = task.predictions(["a"], [], labels[:1], targets[:1])
    assert (row["sample"], row["label"]) == ("a", "10") and float(row["prediction"]) == pytest.approx(10, rel=1e-6)


@pytest.mark.parametrize(("loss", "expected"), [("mse", 4.0), ("mae", 2.0), ("huber", 1.5)])
def test_losses_are_of_standardised_targets(loss: str, expected: float) -> None:
    task = fitted(torch.tensor([0.0, 20.0]), loss)
    assert float(task.loss(torch.tensor([[3.0]]), torch.tensor([20.0]))) == pytest.approx(expected)
    assert (task.solver == "ridge") == (loss == "mse")


def test_predictions_that_are_all_the_same_have_no_correlation() -> None:
    labels = torch.tensor([1.0, 2.0, 4.0])
    found = fitted(labels).scores(torch.zeros(3, 1), labels)
    assert math.isnan(found["pearson"]) and math.isnan(found["spearman"]) and found["r2"] == pytest.approx(0, abs=1e-6)


def test_the_largest_errors_come_first() -> None:
    labels = torch.tensor([0.0, 10.0, 20.0, 30.0])
    task = fitted(labels)
    outputs = task.targets(torch.tensor([1.0, 3.0, 25.0, 30.0]))
    assert [index for index, _ in task.worst(outputs, labels, 2)] == [1, 2]
    assert task.worst(outputs, labels, 1)[0][1]["error"] == pytest.approx(7, abs=1e-4)


def test_labels_that_are_no_numbers_are_named() -> None:
    assert make("task/regression").encode(["1", " -2.5e1", "3"], []).tolist() == [1.0, -25.0, 3.0]
    with pytest.raises(UserError, match="2 labels are no finite numbers, such as 'inf', 'old'; repair them"):
        make("task/regression").encode(["1", "old", "inf", "old"], [])
    with pytest.raises(UserError, match="all training labels are 3; there is nothing to learn"):
        fitted(torch.tensor([3.0, 3.0]))


@given(
    offset=st.sampled_from([0.0, 1.7e9, -3e12, 1e15, 1e-200, 1e300]),
    step=st.sampled_from([1.0, 0.25, 1e-3, 1e-210, 1e290]),
    seed=st.integers(0, 99),
)
def test_labels_are_exact_until_they_are_centred(offset: float, step: float, seed: int) -> None:
    """Numbers that differ little beside what they have in common, as times do, stay apart in all that is said."""
    texts = [repr(offset + step * place) for place in range(8)]
    truth = np.array([float(text) for text in texts])
    if len(set(texts)) < 8:
        return
    task = make("task/regression")
    labels = task.encode(texts, [])
    assert labels.tolist() == truth.tolist()
    task.fit(labels, [])
    assert len(set(task.targets(labels).flatten().tolist())) == 8 and task.targets(labels).dtype == torch.float32
    perfect = task.targets(labels)
    rows = [*task.predictions(list("abcdefgh"), [], labels, perfect)]
    assert [float(row["label"]) for row in rows] == truth.tolist()
    spread = float(truth[-1] - truth[0])
    noise = 8 * np.spacing(abs(truth).max())
    for row, number in zip(rows, truth, strict=True):
        assert float(row["prediction"]) == pytest.approx(number, rel=0, abs=1e-6 * spread + noise)
    off = perfect + 0.5 * torch.randn(8, 1, generator=torch.Generator().manual_seed(seed))
    found = task.scores(off, labels)
    assert found["rmse"] == pytest.approx(task.deviation * found["loss"] ** 0.5, rel=1e-3)
    assert 0 < found["rmse"] < 3 * spread and found["r2"] < 1


def test_whether_there_is_anything_to_learn_is_judged_by_the_exact_labels() -> None:
    task = make("task/regression")
    task.fit(task.encode([str(1_700_000_000 + second) for second in range(4)], []), [])
    assert task.mean == 1_700_000_001.5 and task.deviation == pytest.approx(1.25**0.5)
    with pytest.raises(UserError, match="all training labels are 1700000000.5; there is nothing to learn"):
        task.fit(task.encode(["1700000000.5"] * 3, []), [])
    with pytest.raises(UserError, match="2 labels have more digits .* such as '1700000000000000001'; take away"):
        task.encode(["1700000000000000001", "1700000000000000002", "1700000000000000000"], [])
    with pytest.raises(UserError, match="lie too far apart"):
        task.fit(task.encode(["-1.7e308", "1.7e308"], []), [])


def test_predictions_that_are_all_the_same_far_from_zero_have_no_correlation() -> None:
    task = make("task/regression")
    labels = task.encode(["1700000000.1", "1700000000.3", "1700000001.2"], [])
    task.fit(labels, [])
    found = task.scores(torch.full((3, 1), 0.1), labels)
    assert math.isnan(found["pearson"]) and math.isnan(found["spearman"])
