"""Any number of classes for each sample, none among them: tags."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from frostline.errors import UserError
from frostline.tasks.base import Answer, Outputs, Task
from frostline.tasks.declarations import MULTILABEL
from frostline.tasks.weights import ClassWeights, PerDevice, check_weights, one_for_each


class Multilabel(Task):
    """Binary cross-entropy for each class; a label's text names its classes, divided by ``separator``.

    A class is predicted where its probability is above ``threshold``. ``class_weights`` is null, a list in the order
    of the classes, or ``balanced``: how much more a sample that has the class counts than one that has it not, in
    balance as much as there are fewer of them.
    """

    declaration = MULTILABEL
    solver = "one_vs_rest"
    fewest = 1
    blank = True

    def __init__(self, separator: str, threshold: float, class_weights: ClassWeights) -> None:
        if not separator:
            raise UserError("task.separator: it is empty; give the sign between the classes of a label, such as ';'.")
        if not 0 < threshold < 1:
            raise UserError(f"task.threshold: {threshold} is invalid: expected a number between 0 and 1.")
        check_weights(class_weights)
        self.separator, self.threshold, self.class_weights = separator, threshold, class_weights
        self.cut = float(torch.tensor(threshold).logit())
        self.weights: PerDevice | None = None

    def members(self, label: str) -> list[str]:
        return list(dict.fromkeys(part.strip() for part in label.split(self.separator) if part.strip()))

    def encode(self, labels: Sequence[str], classes: Sequence[str]) -> Tensor:
        place = {label: index for index, label in enumerate(classes)}
        encoded_NC = torch.zeros(len(labels), len(classes))
        for row, label in enumerate(labels):
            encoded_NC[row, [place[member] for member in self.members(label)]] = 1
        return encoded_NC

    def fit(self, labels: Tensor, classes: Sequence[str]) -> None:
        if self.class_weights == "balanced":
            having_C = labels.sum(dim=0)
            self.weights = PerDevice((len(labels) - having_C).clamp_min(1) / having_C.clamp_min(1))
        elif isinstance(self.class_weights, list):
            self.weights = PerDevice(one_for_each(self.class_weights, classes))

    def importance(self, labels: Tensor) -> Tensor | None:
        return None if self.weights is None else torch.where(labels > 0, self.weights.at(labels.device), 1.0)

    def draws(self, labels: Tensor) -> Tensor:
        """Return for each sample the draws of its rarest class; one without any counts as a class of its own."""
        every = torch.cat([labels, (labels.sum(dim=1, keepdim=True) == 0).float()], dim=1)
        return (every / every.sum(dim=0).clamp_min(1)).amax(dim=1)

    def width(self, classes: Sequence[str]) -> int:
        return len(classes)

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        assert isinstance(outputs, Tensor)
        weights_C = None if self.weights is None else self.weights.at(outputs.device)
        return functional.binary_cross_entropy_with_logits(outputs.float(), labels, pos_weight=weights_C)

    def hits(self, outputs: Outputs, labels: Tensor) -> Tensor:
        assert isinstance(outputs, Tensor)
        return ((outputs.detach() > self.cut) == (labels > 0)).all(dim=1).sum()

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Return every score for logits [N, classes] and labels [N, classes] of 0 and 1.

        macro F1 is the mean over the classes that have samples or predictions; average precision is the mean over
        those that have samples, AUROC over those that have both; NaN where there are none. Exact match is the share
        of samples whose classes are all right.
        """
        said, true, logits = outputs > self.cut, labels > 0, outputs.float()
        hit_C, both_C = (said & true).sum(dim=0), said.sum(dim=0) + true.sum(dim=0)
        values = {
            "macro_f1": (2 * hit_C / both_C)[both_C > 0].mean() if both_C.any() else torch.tensor(1.0),
            "micro_f1": 2 * hit_C.sum() / both_C.sum() if both_C.any() else torch.tensor(1.0),
            "average_precision": _mean("average_precision", logits, true, true.any(dim=0)),
            "auroc": _mean("auroc", logits, true, true.any(dim=0) & ~true.all(dim=0)),
            "exact_match": (said == true).all(dim=1).float().mean(),
            "loss": self.deviance(logits, labels),
        }
        return {name: float(value) for name, value in values.items()}

    def explain_outputs(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    def answers(self, classes: Sequence[str], outputs: Tensor) -> Iterator[Answer]:
        for said, row in zip((outputs > self.cut).tolist(), outputs.sigmoid().tolist(), strict=True):
            yield Answer(_chosen(classes, said), dict(zip(classes, row, strict=True)))

    def predictions(
        self, names: Sequence[str], classes: Sequence[str], labels: Tensor, outputs: Tensor
    ) -> Iterator[dict[str, Any]]:
        """Yield a row for each sample: its name, its classes, those predicted, and the probability of each class."""
        for name, true, answer in zip(names, labels.tolist(), self.answers(classes, outputs), strict=True):
            yield {"sample": name, "label": self.separator.join(_chosen(classes, true)), **self.cells(answer)}

    def cells(self, answer: Answer) -> dict[str, str]:
        return super().cells(answer._replace(prediction=self.separator.join(answer.prediction)))  # type: ignore[arg-type]

    def worst(self, outputs: Tensor, labels: Tensor, most: int) -> list[tuple[int, dict[str, float]]]:
        """Return the samples of which a class was denied or claimed most surely, and wrongly."""
        wrong = (outputs > self.cut) != (labels > 0)
        probabilities_NC = outputs.sigmoid()
        sure_N = torch.where(labels > 0, 1 - probabilities_NC, probabilities_NC).masked_fill(~wrong, 0).amax(dim=1)
        order = sure_N.argsort(descending=True, stable=True)[: min(most, int(wrong.any(dim=1).sum()))].tolist()
        return [(index, {"probability": float(sure_N[index])}) for index in order]


def _chosen(classes: Sequence[str], chosen: Sequence[float]) -> list[str]:
    return [name for name, is_there in zip(classes, chosen, strict=True) if is_there]


def _mean(name: str, logits_NC: Tensor, true_NC: Tensor, usable_C: Tensor) -> Tensor:
    """Return the mean of a score of torchmetrics over the classes for which it is defined, NaN where there are none."""
    from torchmetrics.functional import classification as tm

    if not usable_C.any():
        return torch.tensor(float("nan"))
    score = {"average_precision": tm.multilabel_average_precision, "auroc": tm.multilabel_auroc}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of the classes that are left out here
        each = score(logits_NC.sigmoid(), true_NC.long(), logits_NC.shape[1], average=None, validate_args=False)
    return torch.as_tensor(each).reshape(-1)[usable_C].mean()
