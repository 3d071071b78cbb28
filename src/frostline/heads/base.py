"""What heads have in common, and how taps are brought to one variance."""

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn

from frostline.errors import UserError, make_choice_error

SOLVERS = (None, "lbfgs")
SMALLEST = 1e-12
"""A tap whose variance is below this share of its mean's square does not vary."""


class Head(nn.Module):
    """What every head has: ``features [B, D] -> logits [B, classes]``, and how its first fit is found.

    ``solver`` is ``None`` (gradient steps) or ``"lbfgs"`` (a phase that trains the head alone is solved
    to the optimum instead, see :mod:`frostline.training.solve`). A head with a ``scaling`` reads taps: it is fitted
    to training samples before the head first trains. ``name`` is what the command line calls it, where that is not its
    class's own name.
    """

    name: ClassVar[str | None] = None
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

    def describe(self, depths: Sequence[str]) -> list[str]:
        """Return what a user should be told of the trained head; ``depths`` are the names of what it reads."""
        return []


class Scaling(nn.Module):
    """Brings taps that stand side by side [B, D] to one variance: each is centred and multiplied by one number.

    ``widths`` are theirs, in order. Until ``fit`` is called they stay as they are. A tap whose factor is 0 is not read.
    """

    centre: Tensor
    factors: Tensor
    fitted: Tensor
    owners: Tensor

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        self.widths = list(widths)
        self.register_buffer("centre", torch.zeros(sum(widths)))
        self.register_buffer("factors", torch.ones(len(widths)))
        self.register_buffer("fitted", torch.tensor(False))
        owners = [place for place, width in enumerate(widths) for _ in range(width)]
        self.register_buffer("owners", torch.tensor(owners), persistent=False)  # of each number: the place of its tap

    @torch.no_grad()
    def fit(self, chunks: Iterable[Tensor]) -> None:
        """Measure training samples, some [n, D] at a time.

        Each tap gets the same variance in all, of 1 in the mean of all numbers.
        """
        variance_D, mean_D = _measure_columns(chunks)
        each = torch.stack([part.sum() for part in variance_D.split(self.widths)])
        wanted = sum(self.widths) / len(self.widths)
        self.centre.copy_(mean_D)
        constant = SMALLEST * torch.stack([part.square().sum() for part in mean_D.split(self.widths)])
        self.factors.copy_(torch.where(each > constant, (wanted / each).sqrt(), 0.0))
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

    def list_read(self) -> list[range]:
        """Return the places of the numbers of each tap that is read."""
        ends = list(accumulate(self.widths))
        found = zip(self.widths, ends, self.factors.tolist(), strict=True)
        return [range(end - width, end) for width, end, factor in found if factor > 0]

    def spread_factors(self) -> Tensor:
        """Return by what each number of a sample is multiplied [D]."""
        return self.factors[self.owners]

    def forward(self, taps_BD: Tensor) -> Tensor:
        return (taps_BD - self.centre) * self.spread_factors()


def _measure_columns(chunks: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return variance and mean [D] of all rows of some chunks [n, D], gone over once, in double precision.

    Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """
    rest = iter(chunks)
    first = next(rest)
    count, (variance_D, mean_D) = len(first), torch.var_mean(first.double(), dim=0, correction=0)
    for chunk in rest:
        own_D, centre_D = torch.var_mean(chunk.double(), dim=0, correction=0)
        share = len(chunk) / (count + len(chunk))
        apart_D = centre_D - mean_D
        mean_D = mean_D + share * apart_D
        variance_D = torch.lerp(variance_D, own_D, share) + share * (1 - share) * apart_D.square()
        count += len(chunk)
    return variance_D, mean_D


def refuse_solver(head: Head) -> None:
    """Refuse a solver for a head that is trained in steps. Raises UserError."""
    if head.solver is not None:
        raise UserError(
            f"head.solver: {head.solver!r} solves a linear head only; use null with head={name_head(head)}."
        )


def refuse_frames(head: Head, frames: bool) -> None:
    """Refuse ``frames``, a vector for each, for a head that reads one for each sample. Raises UserError."""
    if frames:
        raise UserError(
            f"head={name_head(head)} answers once a sample, and backbone.pooling=none leaves a vector for each frame; "
            "choose head=layer_mix or head=ctc."
        )


def name_head(head: Head) -> str:
    """Return a head's name as the command line has it."""
    if head.name is not None:
        return head.name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(head).__name__).lower()
