"""Heads: the task-specific layers that stand on a backbone's features."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.data.inputs import Inputs, Ragged
from frostline.errors import UserError, make_choice_error
from frostline.tasks.base import Task

SOLVERS = (None, "lbfgs")


class Head(nn.Module):
    """What every head has: ``features [B, D] -> logits [B, classes]``, and how its first fit is found.

    ``solver`` is ``None`` (gradient steps) or ``"lbfgs"`` (a phase that trains the head alone is solved
    to the optimum instead, see :mod:`frostline.training.solve`).
    """

    solver: str | None

    def __init__(self, solver: str | None = None):
        super().__init__()
        if solver not in SOLVERS:
            raise make_choice_error("head.solver", solver, ("null", "lbfgs"))
        self.solver = solver


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


class MLP(Head):
    """One hidden layer of ``hidden`` units with GELU and dropout."""

    def __init__(self, features: int, classes: int, hidden: int, dropout: float, solver: str | None):
        super().__init__(solver)
        _refuse_solver(self, "mlp")
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
        _refuse_solver(self, "cosine")
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
        _refuse_solver(self, "ctc")
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


def _refuse_solver(head: Head, name: str) -> None:
    if head.solver is not None:
        raise UserError(f"head.solver: {head.solver!r} solves a linear head only; use null with head={name}.")
