"""One class of several for each sample: what Frostline does unless it is told otherwise."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from frostline.ranges import Smoothing
from frostline.tasks.base import Answer, Outputs, Task
from frostline.tasks.declarations import MULTICLASS
from frostline.tasks.weights import ClassWeights, PerDevice, check_weights, one_for_each


class Multiclass(Task):
    """Cross-entropy over classes, with label smoothing and, for skewed data, a weight for each class.

    ``class_weights`` is null, a list in the order of the classes, or ``balanced``: each class then counts alike,
    however many samples it has.
    """

    declaration = MULTICLASS
    solver = "multinomial"
    fewest = 2

    def __init__(self, label_smoothing: Smoothing, class_weights: ClassWeights) -> None:
        check_weights(class_weights)
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        self.weights: PerDevice | None = None

    def classes(self, labels: Sequence[str], known: Sequence[str] | None = None) -> list[str]:
        return super().classes(labels) if known is None else list(known)

    def members(self, label: str) -> list[str]:
        return [label]

    def strata(self, labels: Sequence[str]) -> list[str] | None:
        return list(labels)

    def encode(self, labels: Sequence[str], classes: Sequence[str]) -> Tensor:
        place = {label: index for index, label in enumerate(classes)}
        return torch.tensor([place[label] for label in labels])

    def fit(self, labels: Tensor, classes: Sequence[str]) -> None:
        if self.class_weights is None:
            return
        counts_C = torch.bincount(labels, minlength=len(classes))
        weights = self.class_weights
        weights_C = one_for_each(weights, classes) if isinstance(weights, list) else 1 / counts_C
        weights_C = weights_C * counts_C.sum() / (weights_C * counts_C).sum()  # so the learning rate means the same
        self.weights = PerDevice(weights_C)

    def importance(self, labels: Tensor) -> Tensor | None:
        return None if self.weights is None else self.weights.at(labels.device)[labels]

    def draws(self, labels: Tensor) -> Tensor:
        return 1 / torch.bincount(labels)[labels]

    def width(self, classes: Sequence[str]) -> int:
        return len(classes)

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        assert isinstance(outputs, Tensor)
        return self._loss(outputs.float(), labels, self.label_smoothing)

    def deviance(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self._loss(outputs.float(), labels, 0.0)

    def _loss(self, outputs: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        if self.weights is None:
            return functional.cross_entropy(outputs, labels, label_smoothing=smoothing)
        weights_C = self.weights.at(outputs.device)
        each_B = functional.cross_entropy(outputs, labels, weights_C, reduction="none", label_smoothing=smoothing)
        return each_B.mean()  # not torch's weighted mean: a batch's parts on several ranks must add up to the whole

    def hits(self, outputs: Outputs, labels: Tensor) -> Tensor:
        assert isinstance(outputs, Tensor)
        return (outputs.detach().argmax(dim=-1) == labels).sum()

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Return every score for logits [N, classes] and labels [N].

        balanced accuracy is the mean recall over the classes that have samples, F1 the mean over those that have
        samples or predictions; AUROC is one class against the rest, averaged over the classes that have both; the
        calibration error is the expected one in 15 bins (Guo et al. 2017, arXiv:1706.04599). Computed once over the
        whole split, so that the batching changes nothing; the loss is without smoothing.
        """
        from torchmetrics.functional import classification as tm

        classes = outputs.shape[1]
        probabilities_NC = outputs.float().softmax(dim=-1)
        options = {"num_classes": classes, "validate_args": False}
        values = {
            "accuracy": tm.multiclass_accuracy(probabilities_NC, labels, average="micro", **options),
            "balanced_accuracy": _recalls(probabilities_NC, labels, classes).mean(),
            "f1": tm.multiclass_f1_score(probabilities_NC, labels, average="macro", **options),
            "auroc": _auroc(probabilities_NC, labels, classes),
            "calibration_error": tm.multiclass_calibration_error(probabilities_NC, labels, n_bins=15, **options),
            "loss": self.deviance(outputs, labels),
        }
        return {name: float(value) for name, value in values.items()}

    def answers(self, classes: Sequence[str], outputs: Tensor) -> Iterator[Answer]:
        for row in outputs.softmax(dim=-1).tolist():
            best = max(range(len(row)), key=lambda place: row[place])
            yield Answer(classes[best], dict(zip(classes, row, strict=True)))

    def predictions(
        self, names: Sequence[str], classes: Sequence[str], labels: Tensor, outputs: Tensor
    ) -> Iterator[dict[str, Any]]:
        """Yield a row for each sample: its name, label, prediction, and the probability of each class."""
        for name, label, answer in zip(names, labels.tolist(), self.answers(classes, outputs), strict=True):
            yield {"sample": name, "label": classes[label], **self.cells(answer)}

    def confusion(self, outputs: Tensor, labels: Tensor) -> list[list[int]]:
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        matrix = multiclass_confusion_matrix(outputs.softmax(dim=-1), labels, num_classes=outputs.shape[1])
        return matrix.int().tolist()

    def worst(self, outputs: Tensor, labels: Tensor, most: int) -> list[tuple[int, dict[str, float]]]:
        """Return the wrong predictions that were surest."""
        probabilities_N, predictions_N = outputs.softmax(dim=-1).max(dim=-1)
        wrong = (predictions_N != labels).nonzero().flatten()
        surest = wrong[probabilities_N[wrong].argsort(descending=True, stable=True)][:most].tolist()
        return [(index, {"probability": float(probabilities_N[index])}) for index in surest]


def _recalls(probabilities_NC: Tensor, labels_N: Tensor, classes: int) -> Tensor:
    """Return the recall of each class that has samples; torchmetrics' own mean counts absent ones as 0."""
    from torchmetrics.functional.classification import multiclass_recall

    each = multiclass_recall(probabilities_NC, labels_N, num_classes=classes, average="none", validate_args=False)
    return each[torch.bincount(labels_N, minlength=classes) > 0]


def _auroc(probabilities_NC: Tensor, labels_N: Tensor, classes: int) -> Tensor:
    from torchmetrics.functional.classification import multiclass_auroc

    counts = torch.bincount(labels_N, minlength=classes)
    usable = (counts > 0) & (counts < len(labels_N))
    if not usable.any():
        return torch.tensor(float("nan"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of the absent classes that are left out here
        each = multiclass_auroc(probabilities_NC, labels_N, num_classes=classes, average=None, validate_args=False)
    return torch.as_tensor(each)[usable].mean()
