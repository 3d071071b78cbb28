"""Scores against scikit-learn's, on data with absent classes, with two classes and with one sample."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import Tensor

from frostline.metrics import better, confusion, score
from frostline.schema import LOWER_IS_BETTER
from frostline.schema import METRICS as NAMES


def case(seed: int, samples: int, classes: int, absent: int) -> tuple[Tensor, Tensor]:
    """Logits that know a little of the labels; some classes have no samples, but are predicted."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, max(1, classes - absent), (samples,), generator=generator)
    logits = torch.randn(samples, classes, generator=generator)
    logits[torch.arange(samples), labels] += 1.0
    return logits, labels


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Guo et al. 2017, written out: the gap between confidence and accuracy, weighted by the size of each bin."""
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == labels
    total = 0.0
    for low in np.linspace(0, 1, bins + 1)[:-1]:
        inside = (confidence > low) & (confidence <= low + 1 / bins)
        if inside.any():
            total += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return total


def auroc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """One against the rest, over the classes that have samples and are not the only one."""
    present = [label for label in set(labels.tolist()) if (labels != label).any()]
    each = [sk.roc_auc_score(labels == label, probabilities[:, label]) for label in present]
    return float(np.mean(each)) if each else math.nan


@settings(deadline=None)
@given(seed=st.integers(0, 9999), samples=st.integers(1, 80), classes=st.integers(2, 7), absent=st.integers(0, 3))
def test_scores_are_those_of_scikit_learn(seed: int, samples: int, classes: int, absent: int) -> None:
    logits, labels = case(seed, samples, classes, absent)
    found = score(logits, labels)
    probabilities, truth = logits.double().softmax(1).numpy(), labels.numpy()
    predicted = probabilities.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = sk.balanced_accuracy_score(truth, predicted)
        f1 = sk.f1_score(truth, predicted, average="macro")
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": balanced,
        "f1": f1,
        "auroc": auroc(logits.softmax(1).numpy(), truth),
        "calibration_error": calibration_error(logits.softmax(1).numpy(), truth),
        "loss": sk.log_loss(truth, probabilities, labels=range(classes)),
    }
    assert set(found) == set(NAMES)
    assert found == pytest.approx(expected, abs=1e-5, nan_ok=True)
    matrix = sk.confusion_matrix(truth, predicted, labels=range(classes))
    assert confusion(logits, labels) == matrix.tolist()


def test_a_perfect_and_a_hopeless_classifier() -> None:
    labels = torch.arange(40) % 4
    perfect = torch.nn.functional.one_hot(labels, 4) * 50.0
    found = score(perfect, labels)
    assert [found[name] for name in NAMES] == pytest.approx([1, 1, 1, 1, 0, 0], abs=1e-6)
    hopeless = score(perfect, (labels + 1) % 4)
    assert [hopeless[name] for name in NAMES[:3]] == [0, 0, 0] and hopeless["calibration_error"] == pytest.approx(1)


def test_half_precision_is_scored_in_full() -> None:
    logits, labels = case(3, 60, 5, 0)
    rough = logits.to(torch.bfloat16)
    assert score(rough, labels) == pytest.approx(score(rough.float(), labels))


@pytest.mark.parametrize("name", NAMES)
def test_better_knows_the_direction_and_nan(name: str) -> None:
    low, high = (0.2, 0.1) if name in LOWER_IS_BETTER else (0.1, 0.2)
    assert better(name, high, low) and not better(name, low, high) and not better(name, low, low)
    assert better(name, low, None)
    assert not better(name, math.nan, None) and not better(name, math.nan, low) and not better(name, math.nan, math.nan)
    assert better(name, low, math.nan), "what is no number is beaten by any number"
