"""Several classes a sample: scores against scikit-learn's, labels from text and back, weights and draws."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from tests.configs import make
from torch import Tensor
from torch.nn import functional

from frostline.errors import UserError
from frostline.tasks.multilabel import Multilabel

TASK = make("task/multilabel")
CLASSES = ["cat", "dog", "sea"]


def case(seed: int, samples: int, classes: int) -> tuple[Tensor, Tensor]:
    """Logits that know a little of the labels; some classes have no sample, or every one."""
    generator = torch.Generator().manual_seed(seed)
    rates = torch.rand(classes, generator=generator).mul(1.6).sub(0.3)
    labels = (torch.rand(samples, classes, generator=generator) < rates).float()
    return torch.randn(samples, classes, generator=generator) + labels, labels


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 9999), samples=st.integers(1, 60), classes=st.integers(1, 6))
def test_scores_are_those_of_scikit_learn(seed: int, samples: int, classes: int) -> None:
    logits, labels = case(seed, samples, classes)
    found, said, true = TASK.scores(logits, labels), (logits > 0).numpy(), labels.numpy().astype(bool)
    assert tuple(found) == TASK.metrics
    there = [one for one in range(classes) if true[:, one].any()]
    counted = [one for one in range(classes) if (true | said)[:, one].any()]
    both = [one for one in there if not true[:, one].all()]
    values = logits.double().numpy()
    expected = {
        "macro_f1": np.mean([sk.f1_score(true[:, one], said[:, one]) for one in counted]) if counted else 1.0,
        "micro_f1": sk.f1_score(true.ravel(), said.ravel()) if counted else 1.0,
        "average_precision": np.mean([sk.average_precision_score(true[:, one], values[:, one]) for one in there])
        if there
        else np.nan,
        "auroc": np.mean([sk.roc_auc_score(true[:, one], values[:, one]) for one in both]) if both else np.nan,
        "exact_match": (said == true).all(axis=1).mean(),
        "loss": float(functional.binary_cross_entropy(logits.double().sigmoid(), labels.double())),
    }
    assert found == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert float(TASK.hits(logits, labels)) == pytest.approx(found["exact_match"] * samples)


def test_labels_come_from_text_and_go_back_to_it() -> None:
    texts = ["dog; cat", "", "sea", "cat;cat"]
    assert TASK.classes(texts) == CLASSES
    encoded = TASK.encode(texts, CLASSES)
    assert encoded.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    logits = torch.tensor([[2.0, -1.0, 0.5], [-1.0, -1.0, -1.0], [0.0, 0.0, 9.0], [0.1, 0.1, 0.1]])
    rows = list(TASK.predictions(list("abcd"), CLASSES, encoded, logits))
    assert [row["label"] for row in rows] == ["cat;dog", "", "sea", "cat"]
    assert [row["prediction"] for row in rows] == ["cat;sea", "", "sea", "cat;dog;sea"]
    assert rows[0]["p(cat)"] == f"{torch.tensor(2.0).sigmoid():.6g}"
    assert [
        one["prediction"]
        for one in Multilabel("|", 0.9, class_weights=None).predictions(["a"], CLASSES, encoded[:1], logits[:1])
    ] == [""]


def test_the_worst_are_those_denied_or_claimed_most_surely() -> None:
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    logits = torch.tensor([[-1.0, -5.0], [-9.0, 3.0], [8.0, 8.0]])
    (first, how), (second, _) = TASK.worst(logits, labels, 12)
    assert (first, second) == (1, 0) and how["probability"] == pytest.approx(float(torch.tensor(3.0).sigmoid()))


def test_balanced_weights_make_having_a_class_count_as_much_as_not_having_it() -> None:
    labels = torch.tensor([[1.0, 1.0]] + [[0.0, 1.0]] * 3 + [[0.0, 0.0]] * 4)
    task = make("task/multilabel", class_weights="balanced")
    task.fit(labels, ["a", "b"])
    importance = task.importance(labels)
    assert importance is not None
    for place in (0, 1):
        having = labels[:, place] > 0
        assert importance[having, place].sum() == pytest.approx(float(importance[~having, place].sum()))
    logits = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    each = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    torch.testing.assert_close(task.loss(logits, labels), (each * importance).mean())


def test_samples_of_rare_classes_are_drawn_more_often() -> None:
    labels = torch.tensor([[1.0, 0.0]] * 6 + [[1.0, 1.0]] * 2 + [[0.0, 0.0]] * 4)
    draws = TASK.draws(labels)
    assert draws[0] == pytest.approx(1 / 8) and draws[6] == pytest.approx(1 / 2) and draws[8] == pytest.approx(1 / 4)


def test_wrong_options_are_named() -> None:
    for key, choose in {
        "separator": lambda: make("task/multilabel", separator=""),
        "threshold": lambda: make("task/multilabel", threshold=1.0),
        "class_weights": lambda: make("task/multilabel", class_weights="rare"),
    }.items():
        with pytest.raises(UserError, match=rf"^task\.{key}: "):
            choose()
    with pytest.raises(UserError, match="3 weights and 2 classes; give one for each, in this order: a, b"):
        make("task/multilabel", class_weights=[1.0, 2.0, 3.0]).fit(torch.ones(2, 2), ["a", "b"])
