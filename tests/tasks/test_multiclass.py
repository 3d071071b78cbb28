"""Scores against scikit-learn's, on data with absent classes, with two classes and with one sample."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from tests.configs import make
from torch import Tensor

from frostline.errors import UserError
from frostline.tasks.multiclass import Multiclass

NAMES = Multiclass.declaration.names
TASK = Multiclass(label_smoothing=0.1, class_weights=None)


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
    found = TASK.scores(logits, labels)
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
    assert TASK.confusion(logits, labels) == matrix.tolist()


def test_a_perfect_and_a_hopeless_classifier() -> None:
    labels = torch.arange(40) % 4
    perfect = torch.nn.functional.one_hot(labels, 4) * 50.0
    found = TASK.scores(perfect, labels)
    assert [found[name] for name in NAMES] == pytest.approx([1, 1, 1, 1, 0, 0], abs=1e-6)
    hopeless = TASK.scores(perfect, (labels + 1) % 4)
    assert [hopeless[name] for name in NAMES[:3]] == [0, 0, 0] and hopeless["calibration_error"] == pytest.approx(1)


def test_predictions_have_a_row_for_each_sample() -> None:
    logits = torch.tensor([[0.25, 0.75], [0.1, 0.9]]).log()
    rows = list(TASK.predictions(["a", "b"], ["cat", "dog"], torch.tensor([1, 0]), logits))
    assert rows == [
        {"sample": "a", "label": "dog", "prediction": "dog", "p(cat)": "0.25", "p(dog)": "0.75"},
        {"sample": "b", "label": "cat", "prediction": "dog", "p(cat)": "0.1", "p(dog)": "0.9"},
    ]


def test_half_precision_is_scored_in_full() -> None:
    logits, labels = case(3, 60, 5, 0)
    rough = logits.to(torch.bfloat16)
    assert TASK.scores(rough, labels) == pytest.approx(TASK.scores(rough.float(), labels))


def test_balanced_weights_let_each_class_count_alike() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    task = make("task/multiclass", class_weights="balanced", label_smoothing=0.0)
    task.fit(labels, list("abc"))
    importance = task.importance(labels)
    assert importance is not None and importance.mean() == pytest.approx(1)
    assert [importance[labels == one].sum() for one in range(3)] == pytest.approx([10 / 3] * 3)


def test_the_loss_of_parts_adds_up_to_that_of_the_whole() -> None:
    """Which torch's own weighted mean does not: it divides by the weights of the samples at hand."""
    logits, labels = case(1, 30, 3, 0)
    task = Multiclass(0.1, [1.0, 2.0, 5.0])
    task.fit(labels, list("abc"))
    parts = [task.loss(logits[rows], labels[rows]) for rows in (slice(0, 15), slice(15, 30))]
    torch.testing.assert_close(task.loss(logits, labels), torch.stack(parts).mean())
    plain = Multiclass(0.1, class_weights=None)
    plain.fit(labels, list("abc"))
    assert task.loss(logits, labels) != plain.loss(logits, labels)


def test_equal_weights_change_nothing() -> None:
    logits, labels = case(2, 40, 4, 0)
    task = Multiclass(0.1, [3.0] * 4)
    task.fit(labels, list("abcd"))
    torch.testing.assert_close(task.loss(logits, labels), TASK.loss(logits, labels))


@pytest.mark.parametrize("weights", ["rare", [-1.0, 1.0], [0.0, 0.0]])
def test_weights_that_will_not_do_are_named(weights: str | list[float]) -> None:
    with pytest.raises(UserError, match=r"^task\.class_weights: "):
        make("task/multiclass", class_weights=weights, label_smoothing=0.0)


def test_classes_are_the_readers_or_in_their_natural_order() -> None:
    assert TASK.classes(["10", "9", "1"]) == ["1", "9", "10"] and TASK.classes(["b", "10", "a"]) == ["10", "a", "b"]
    assert TASK.classes(["b", "a"], ["b", "a"]) == ["b", "a"]
