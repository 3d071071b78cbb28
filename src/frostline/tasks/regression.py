"""A number for each sample."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from frostline.errors import UserError
from frostline.tasks.base import Answer, Outputs, Task, digits
from frostline.tasks.declarations import REGRESSION

LOSSES = {"mse": functional.mse_loss, "huber": functional.huber_loss, "mae": functional.l1_loss}


class Regression(Task):
    """The head learns targets of mean 0 and deviation 1, by those of train; scores and predictions are in their units.

    ``loss`` is the squared error (``mse``), the absolute one (``mae``), or in between (``huber``: squared up to one
    deviation, as far beyond it as the absolute one).
    """

    declaration = REGRESSION

    def __init__(self, loss: Literal["mse", "huber", "mae"]) -> None:
        self._loss = LOSSES[loss]
        self.solver = "ridge" if loss == "mse" else None
        self.mean, self.deviation = 0.0, 1.0

    def encode(self, labels: Sequence[str], classes: Sequence[str]) -> Tensor:
        numbers = [_number(label) for label in labels]
        wrong = sorted({label for label, number in zip(labels, numbers, strict=True) if not math.isfinite(number)})
        if wrong:
            some = ", ".join(map(repr, wrong[:3]))
            raise UserError(
                f"task=regression: {len(wrong)} labels are no finite numbers, such as {some}; repair them, or choose "
                f"the column of numbers with data.label_column."
            )
        rounded = [label for label, number in zip(labels, numbers, strict=True) if _is_rounded(label, number)]
        if rounded:
            raise UserError(
                f"task=regression: {len(rounded)} labels have more digits than a number in double precision, such as "
                f"{rounded[0]!r}; take away what all have in common."
            )
        return torch.tensor(numbers, dtype=torch.float64)

    def fit(self, labels: Tensor, classes: Sequence[str]) -> None:
        """Take mean and deviation in double precision, of what is left when the first label is taken away.

        Labels may be large numbers that differ little, such as times: in single precision 1.7e9 + 1 is 1.7e9.
        """
        first = float(labels[0])
        apart = labels.double() - first
        scale = float(apart.abs().max())
        if scale == 0:
            raise UserError(f"task=regression: all training labels are {digits(first)}; there is nothing to learn.")
        if not math.isfinite(scale):
            raise UserError("task=regression: the training labels lie too far apart for a number; scale them.")
        self.mean = first + float((apart / scale).mean()) * scale
        self.deviation = float((apart / scale).std(correction=0)) * scale

    def known(self) -> dict[str, Any]:
        return {"mean": self.mean, "deviation": self.deviation}

    def remember(self, known: Mapping[str, Any]) -> None:
        self.mean, self.deviation = known["mean"], known["deviation"]

    def targets(self, labels: Tensor) -> Tensor:
        """Return the labels as the head learns them [N, 1]: they are exact until they are centred."""
        return self._standardised(labels).float()[:, None]

    def _standardised(self, labels: Tensor) -> Tensor:
        return (labels.double() - self.mean) / self.deviation

    def width(self, classes: Sequence[str]) -> int:
        return 1

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        assert isinstance(outputs, Tensor)
        return self._loss(outputs.float(), self.targets(labels).to(outputs.device))

    def hits(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Return the absolute errors, summed."""
        assert isinstance(outputs, Tensor)
        said = outputs.detach().float()
        return (said - self.targets(labels).to(said)).abs().sum() * self.deviation

    def _values(self, outputs: Tensor) -> Tensor:
        """Return outputs [N, 1] in the units of the labels [N]."""
        return outputs.double()[:, 0] * self.deviation + self.mean

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Return every score for outputs [N, 1] and labels [N].

        R2 is the share of the variance of this split that is explained; Pearson's correlation is of the values,
        Spearman's of their ranks. NaN where labels or predictions are all the same.
        """
        from scipy.stats import rankdata

        said, true = outputs.double()[:, 0], self._standardised(labels)
        errors = said - true
        ranks = [torch.from_numpy(rankdata(each)) for each in (said, labels.double())]
        spread = _centred(true).square().sum()
        found = {
            "rmse": errors.square().mean().sqrt() * self.deviation,
            "mae": errors.abs().mean() * self.deviation,
            "r2": 1 - errors.square().sum() / spread if spread > 0 else torch.tensor(math.nan),
            "pearson": _correlation(said, true),
            "spearman": _correlation(ranks[0], ranks[1]),
            "loss": self.deviance(outputs.float(), labels),
        }
        return {name: float(value) for name, value in found.items()}

    def answers(self, classes: Sequence[str], outputs: Tensor) -> Iterator[Answer]:
        for value in self._values(outputs.cpu()).tolist():
            yield Answer(value, {})

    def predictions(
        self, names: Sequence[str], classes: Sequence[str], labels: Tensor, outputs: Tensor
    ) -> Iterator[dict[str, Any]]:
        for name, label, answer in zip(names, labels.tolist(), self.answers(classes, outputs), strict=True):
            yield {"sample": name, "label": digits(label), **self.cells(answer)}

    def worst(self, outputs: Tensor, labels: Tensor, most: int) -> list[tuple[int, dict[str, float]]]:
        """Return the largest errors."""
        errors_N = (self._values(outputs) - labels).abs()
        order = errors_N.argsort(descending=True, stable=True)[:most].tolist()
        return [(index, {"error": float(errors_N[index])}) for index in order]


def _number(text: str) -> float:
    """Return a label as a number, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _is_rounded(text: str, number: float) -> bool:
    """Return whether a whole number is so large that its last digits are lost in double precision."""
    return abs(number) > 2**53 and text.strip().lstrip("+-").isdecimal() and Decimal(text.strip()) != Decimal(number)


def _centred(x_N: Tensor) -> Tensor:
    """Return values without their mean; exactly 0 where they are all the same."""
    x_N = x_N - x_N[0]
    return x_N - x_N.mean()


def _correlation(x_N: Tensor, y_N: Tensor) -> Tensor:
    """Return Pearson's correlation, NaN where one does not vary."""
    x_N, y_N = _centred(x_N), _centred(y_N)
    return (x_N @ y_N) / (x_N.norm() * y_N.norm())
