"""From a task's labels to problems of one set of features, solved penalty after penalty, the strongest first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from frostline.solving.decompose import Decomposition
from frostline.solving.losses import CrossEntropy, Logistic, Loss, Squares
from frostline.solving.newton import TOLERANCE, Problems, minimise
from frostline.tasks.base import SolverKind


class Solved(NamedTuple):
    """Weights [F, width, K] of coordinates for one penalty, and how often all samples were gone over."""

    penalty: float
    weights: Tensor
    passes: int


@dataclass(frozen=True)
class Question:
    """What is asked of the samples: ``kind``, targets, and how much each sample counts in each of F subsets.

    ``targets`` are classes [N], or 0 and 1 [N, width], or numbers [N, width]. ``counts_FN`` says how often a sample
    is in a subset (0 or 1 for folds, any number for resamplings); the loss is the mean over a subset. None: one
    subset of all samples. ``importance``, [N] or [N, width], multiplies each sample's loss; None: all alike.
    """

    kind: SolverKind
    targets: Tensor
    width: int
    counts_FN: Tensor | None = None
    importance: Tensor | None = None

    @property
    def is_single(self) -> bool:
        """Whether each of the problems has one output, of which two classes need no more."""
        return self.kind != "multinomial" or self.width == 2

    def shares(self, importance: Tensor | None) -> Tensor:
        """Return how much each sample counts in each subset [F, N], with an importance [N]."""
        counts = torch.ones(1, len(self.targets)) if self.counts_FN is None else self.counts_FN
        counts = counts.to(self.targets.device, torch.float32)
        shares_FN = counts / counts.sum(dim=1, keepdim=True)
        return shares_FN if importance is None else shares_FN * importance.to(shares_FN)

    def pose(self) -> Problems:
        """Return the problems: one for each subset, or F * width of one output each, subset after subset."""
        if not self.is_single:
            return Problems(CrossEntropy(), self.width, self.targets, self.shares(self.importance))
        loss: Loss = Squares() if self.kind == "ridge" else Logistic()
        wide = self.targets[:, None] if self.kind == "multinomial" else self.targets
        importances = wide.shape[1] * [self.importance]
        if self.importance is not None and self.importance.ndim == 2:
            importances = list(self.importance.T)
        shares = torch.stack([self.shares(importance) for importance in importances], dim=1)  # [F, width, N]
        targets = wide.T.float().expand(len(shares), -1, -1)
        return Problems(loss, 1, targets.flatten(0, 1), shares.flatten(0, 1))

    def gather(self, weights: Tensor, subsets: int) -> Tensor:
        """Return weights of problems [B, C, K] as those of subsets and outputs [F, width, K]."""
        if not self.is_single:
            return weights - weights.mean(dim=1, keepdim=True)  # the optimum has a mean of zero
        single = weights.reshape(subsets, -1, weights.shape[-1])
        if self.kind == "multinomial":
            return torch.cat([-single, single], dim=1) / 2
        return single


def solve_path(
    decomposition: Decomposition, question: Question, penalties: Sequence[float], tolerance: float = TOLERANCE
) -> Iterator[Solved]:
    """Yield the optimum of every subset for each penalty (per sample: its meaning does not depend on N), in order.

    Each one starts where those before it point to, as functions of the penalty's logarithm: with penalties a factor
    of 3 apart that needs a third of the passes that zero would. So each is stronger than the next.
    A class that all samples of a subset have, or none, has no optimum of ``one_vs_rest``: only how many there are
    speaks for or against it.
    """
    assert all(one > other > 0 for one, other in pairwise(penalties)), "from the strongest to the weakest"
    problems = question.pose()
    subsets = 1 if question.counts_FN is None else len(question.counts_FN)
    constant_B, odds_B = _find_constant(question, problems)
    varying = (~constant_B).nonzero()[:, 0]
    chosen = problems.select(varying)
    before: list[tuple[float, Tensor]] = []
    for penalty in penalties:
        penalty_B = torch.full((len(varying),), penalty, device=decomposition.device)
        start = _extrapolate(before, penalty)
        width = len(decomposition.moments)
        weights = decomposition.moments.new_zeros(len(problems.share_BN), problems.outputs, width)
        weights[:, :, -1] = odds_B[:, None]
        passes = 0
        if len(varying):
            found = minimise(decomposition, chosen, penalty_B, start, tolerance)
            weights[varying] = found.weights
            passes = int(found.passes_B.max())
            before = [*before[-2:], (math.log(penalty), found.weights)]
        yield Solved(penalty, question.gather(weights, subsets), passes)


def _find_constant(question: Question, problems: Problems) -> tuple[Tensor, Tensor]:
    """Return which problems have samples of one kind only [B], and the logarithm of their odds [B], else 0."""
    if not isinstance(problems.loss, Logistic):
        none = torch.zeros(len(problems.share_BN), device=problems.share_BN.device)
        return none.bool(), none
    counts_FN = question.counts_FN
    if counts_FN is None:
        counts_FN = torch.ones(1, len(question.targets))
    counts_FN = counts_FN.to(problems.share_BN)
    counts_BN = counts_FN.repeat_interleave(len(problems.share_BN) // len(counts_FN), dim=0)
    having_B, all_B = (counts_BN * problems.targets).sum(dim=1), counts_BN.sum(dim=1)
    constant_B = (having_B == 0) | (having_B == all_B)
    odds_B = ((having_B + 0.5) / (all_B - having_B + 0.5)).log()
    return constant_B, torch.where(constant_B, odds_B, 0.0)


def _extrapolate(before: Sequence[tuple[float, Tensor]], penalty: float) -> Tensor | None:
    """Return where the last solutions point to: along their line, and half as far as their parabola bends from it.

    ``before`` are logarithms of penalties, in order, and solutions; no two follow each other with the same penalty.
    """
    if not before:
        return None
    (place, newest), at = before[-1], math.log(penalty)
    if len(before) == 1:
        return newest
    slope = (newest - before[-2][1]) / (place - before[-2][0])
    found = newest + (at - place) * slope
    if len(before) == 2:
        return found
    older = (before[-2][1] - before[-3][1]) / (before[-2][0] - before[-3][0])
    bend = (slope - older) / (place - before[-3][0])
    return found + (at - place) * (at - before[-2][0]) * bend / 2


def measure_losses(kind: SolverKind, outputs: Tensor, targets: Tensor, importance: Tensor | None = None) -> Tensor:
    """Return the loss [..., N] of each sample for outputs [..., N, width], the rest as `Question` has it."""
    if kind == "multinomial":
        places = targets.expand(outputs.shape[:-1])[..., None]
        losses = outputs.logsumexp(dim=-1) - outputs.gather(-1, places)[..., 0]
        return losses if importance is None else losses * importance
    if kind == "ridge":
        losses = (outputs - targets).square()
    else:
        losses = functional.softplus(outputs) - targets * outputs
    if importance is not None:
        losses = losses * (importance if importance.ndim == 2 else importance[:, None])
    return losses.mean(dim=-1)
