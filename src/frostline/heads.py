"""Heads: the task-specific layers that stand on a backbone's features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.data.inputs import Inputs, Ragged
from frostline.errors import UserError, make_choice_error
from frostline.tasks.base import Task

SOLVERS = (None, "lbfgs")
SMALLEST = 1e-12
"""A tap that varies less than this in all does not vary."""


class Head(nn.Module):
    """What every head has: ``features [B, D] -> logits [B, classes]``, and how its first fit is found.

    ``solver`` is ``None`` (gradient steps) or ``"lbfgs"`` (a phase that trains the head alone is solved
    to the optimum instead, see :mod:`frostline.training.solve`). A head with a ``scaling`` reads taps: it is fitted
    to training samples before the head first trains.
    """

    solver: str | None
    scaling: "Scaling | None"

    def __init__(self, solver: str | None = None, widths: Sequence[int] = ()):
        super().__init__()
        self.scaling = Scaling(widths) if widths else None
        if solver not in SOLVERS:
            raise make_choice_error("head.solver", solver, ("null", "lbfgs"))
        self.solver = solver

    def standardise(self, features_BD: Tensor) -> Tensor:
        """Return features as the head's layers take them: taps brought to one variance."""
        return features_BD if self.scaling is None else self.scaling(features_BD)


class Scaling(nn.Module):
    """Brings taps that stand side by side [B, D] to one variance: each is centred and multiplied by one number.

    ``widths`` are theirs, in order. Until ``fit`` is called they stay as they are. A tap whose factor is 0 is not read.
    """

    centre: Tensor
    factors: Tensor
    fitted: Tensor

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        self.widths = list(widths)
        self.register_buffer("centre", torch.zeros(sum(widths)))
        self.register_buffer("factors", torch.ones(len(widths)))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, taps_ND: Tensor) -> None:
        """Measure training samples [N, D]: each tap gets the same variance in all, of 1 in the mean of all numbers."""
        variance_D, mean_D = torch.var_mean(taps_ND.double(), dim=0, correction=0)
        each = torch.stack([part.sum() for part in variance_D.split(self.widths)])
        wanted = sum(self.widths) / len(self.widths)
        self.centre.copy_(mean_D)
        self.factors.copy_(torch.where(each > 0, (wanted / each.clamp_min(SMALLEST)).sqrt(), 0.0))
        self.fitted.fill_(True)

    @torch.no_grad()
    def weigh(self, shares_T: Tensor) -> None:
        """Give each tap, after ``fit``, such a share of the variance in all; one of 0 is not read from here on.

        The variance of the numbers that are read stays 1 in the mean.
        """
        widths_T = torch.tensor(self.widths, device=self.factors.device)
        shares_T = shares_T.to(self.factors)
        total = widths_T.sum() / len(self.widths)  # of each tap
        wanted = widths_T[(shares_T > 0) & (self.factors > 0)].sum()
        self.factors.mul_((shares_T * wanted / (total * shares_T.sum())).sqrt())

    def spread_factors(self) -> Tensor:
        """Return by what each number of a sample is multiplied [D]."""
        widths_T = torch.tensor(self.widths, device=self.factors.device)
        return self.factors.repeat_interleave(widths_T, output_size=len(self.centre))

    def forward(self, taps_BD: Tensor) -> Tensor:
        return (taps_BD - self.centre) * self.spread_factors()


class Linear(Head):
    """One layer, which with classes is multinomial logistic regression; starts at zero: the first loss is log(classes).

    ``classes`` is as many outputs as the task asks for.
    """

    def __init__(self, features: int, classes: int, solver: str | None, dropout: float):
        super().__init__(solver)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.linear(self.dropout(features_BD))


class Taps(Head):
    """One layer over several depths of a network, each brought to one variance: ``taps [B, D] -> logits``.

    ``features`` is the width of all of them, ``widths`` that of each, ``taps`` which they are, as a config says it.
    After Head2Toe (Evci et al. 2022, arXiv:2201.03529).
    """

    def __init__(
        self,
        features: int,
        classes: int,
        widths: Sequence[int],
        taps: str | Sequence[str] | None,
        solver: str | None,
        dropout: float,
    ):
        super().__init__(solver, widths)
        self.taps = taps
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, taps_BD: Tensor) -> Tensor:
        return self.linear(self.dropout(self.standardise(taps_BD)))


class MLP(Head):
    """One hidden layer of ``hidden`` units with GELU and dropout."""

    def __init__(self, features: int, classes: int, hidden: int, dropout: float, solver: str | None):
        super().__init__(solver)
        _refuse_solver(self)
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.layers(features_BD)


class Cosine(Head):
    """Scaled cosine similarity to a learned direction for each class.

    Gidaris and Komodakis 2018, Dynamic Few-Shot Visual Learning without Forgetting, arXiv:1804.09458.
    """

    def __init__(self, features: int, classes: int, scale: float, solver: str | None):
        super().__init__(solver)
        _refuse_solver(self)
        self.weight = nn.Parameter(torch.randn(classes, features) / features**0.5)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.scale * functional.linear(
            functional.normalize(features_BD, dim=-1), functional.normalize(self.weight, dim=-1)
        )


class FrameLinear(Head):
    """A linear layer over each frame of ``Ragged`` features, so ``Ragged`` logits [B, T, classes]: for CTC."""

    def __init__(self, features: int, classes: int, dropout: float, solver: str | None = None):
        super().__init__(solver)
        _refuse_solver(self)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)

    def forward(self, features: Inputs) -> Ragged:
        if not isinstance(features, Ragged):
            raise UserError("head=ctc needs a vector for each frame; set backbone.pooling=none.")
        return Ragged(self.linear(self.dropout(features.values)), features.lengths)


def check_frames(task: Task, pooling: str | None) -> None:
    """Refuse a task that answers for each frame where frames are pooled, and the reverse. Raises UserError."""
    if task.is_sequence and pooling != "none":
        raise UserError(
            f"backbone.pooling: task={task.name} answers for each frame; choose a backbone of sequences, head=ctc and "
            f"backbone.pooling=none."
        )
    if pooling == "none" and not task.is_sequence:
        raise UserError(
            f"backbone.pooling: task={task.name} has one answer a sample; use mean, first, last or max, not none."
        )


def _refuse_solver(head: Head) -> None:
    if head.solver is not None:
        name = type(head).__name__.lower()
        raise UserError(f"head.solver: {head.solver!r} solves a linear head only; use null with head={name}.")
