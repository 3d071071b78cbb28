"""Which depths of a network a solved head reads, with what shares and which penalty, by samples that were left out.

The rule was found on half of the sets of `benchmarks/choose_taps.py` and shown on the other half. Unions of taps are
solved: each tap alone, ends of the network of several lengths, and the taps with the largest weights of all (after
Head2Toe, Evci et al. 2022, arXiv:2201.03529), each with its best penalty. Of these a mean of outputs is put together
by greedy selection with replacement (Caruana et al. 2004, Ensemble selection from libraries of models). A tap's share
of the mean becomes its share of the variance, and one head is solved over all that have one. Mean accuracy over the
sets it is shown on, with 50 to 250 samples: 0.920; of the last layer 0.849, of all taps 0.905, of the best end 0.916.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from frostline.heads import Linear, Taps
from frostline.ranks.devices import read_memory
from frostline.solving.path import Question, measure_losses
from frostline.solving.rows import multiply
from frostline.solving.validate import Validation, count_folds, cross_validate_taps
from frostline.tasks.base import Task
from frostline.training.leave_out import Samples, draw_few, draw_folds, scale_samples
from frostline.training.solve import PENALTIES, Solution, check_solving_size, solve_head

ENDS = (0.25, 0.5, 0.75, 1.0)
"""Of the taps, the last: as unions, beside the last one and the last two."""
STRONGEST = (1, 2, 3, 4, 6, 9, 13, 19)
"""So many taps of the largest weights, as unions."""
ROUNDS = 10
"""So many unions are in the mean at most, some of them more than once."""
GAIN = 1e-4
"""Of the loss: a round that gains less adds nothing."""
LEAST = 0.003
"""Of the largest share: a tap of less is not read."""
MOST_NAMES = 6
"""So many taps are named in a sentence."""


@dataclass(frozen=True)
class Choice:
    """What a head is to read: the share of each tap [T], which add up to 1; one of 0 is not read.

    ``loss`` is that on samples left out with ``penalty``, ``last`` that of the features alone, and ``error`` the
    standard error of the difference of the best union from it.
    """

    shares: Tensor
    penalty: float
    loss: float
    last: float
    error: float

    def describe(self, names: Sequence[str]) -> str:
        """Return a sentence for people, with the names of the taps that have the largest shares."""
        order = self.shares.argsort(descending=True, stable=True).tolist()
        read = [f"{names[place]} {self.shares[place]:.0%}" for place in order if self.shares[place] > 0]
        told = f"loss on samples left out {self.loss:.4g}, of the last layer alone {self.last:.4g}"
        if len(read) == 1 and order[0] == len(names) - 1:
            return f"head.taps=auto reads the last layer alone: no union is better by a standard error ({told})."
        few = ", ".join([*read[:MOST_NAMES], *([] if len(read) <= MOST_NAMES else ["..."])])
        return f"head.taps=auto reads {len(read)} of {len(names)} taps, by shares {few} ({told})."


class Judged(NamedTuple):
    """A union of taps with its best penalty: outputs [H, width] and losses [H] of rows left out, weights [width, D]."""

    taps: tuple[int, ...]
    penalty: float
    outputs: Tensor
    losses: Tensor
    weights: Tensor

    @property
    def loss(self) -> float:
        """The mean loss on what was left out."""
        return float(self.losses.double().mean())


@dataclass(frozen=True)
class Judge:
    """Solves unions of taps on training samples, and judges them on samples left out and on validation."""

    task: Task
    widths: Sequence[int]
    train: Samples
    validation: Samples
    outputs: int
    folds: Tensor

    @cached_property
    def question(self) -> Question:
        """What is solved: each subset of folds, or where nothing can be left out, all."""
        rows = self.folds.repeat(self.train.views)
        counts = count_folds(rows) if (self.folds >= 0).any() else torch.ones(1, len(rows))
        labels, solver = self.train.labels, self.task.solver
        assert solver is not None, "checked before training"
        targets, importance = self.task.targets(labels), self.task.importance(labels)
        return Question(solver, targets, self.outputs, counts.to(labels.device), importance)

    @cached_property
    def held(self) -> Tensor:
        """The rows of train that are left out of some subset."""
        return (self.folds.repeat(self.train.views) >= 0).nonzero()[:, 0].to(self.train.labels.device)

    def measure(self, outputs: Tensor) -> Tensor:
        """Return the losses of rows left out, for outputs [..., H, width]."""
        left = torch.cat([self.train.labels[self.held], self.validation.labels])
        return measure_losses(self.question.kind, outputs, self.task.targets(left), self.task.importance(left))

    def judge(self, unions: Sequence[tuple[int, ...]], factors: Sequence[float] | None = None) -> list[Judged]:
        """Return each union solved, its taps multiplied by ``factors`` where there are any."""
        parts = [samples.features.load().split(list(self.widths), dim=1) for samples in (self.train, self.validation)]
        if factors is not None:
            parts = [tuple(map(torch.mul, each, factors)) for each in parts]
        train, validation = ([torch.cat([each[tap] for tap in union], dim=1) for union in unions] for each in parts)
        found = cross_validate_taps(train, self.question, PENALTIES)
        return [self._choose_penalty(*one) for one in zip(unions, found, validation, strict=True)]

    def _choose_penalty(self, union: tuple[int, ...], found: Validation, validation: Tensor) -> Judged:
        outside = [multiply(validation, *solved) for solved in zip(found.weights, found.biases, strict=True)]
        outputs = torch.cat([found.outputs[:, self.held], torch.stack(outside)], dim=1)
        losses = self.measure(outputs)
        best = int(losses.double().mean(dim=1).argmin())
        return Judged(union, PENALTIES[best], outputs[best], losses[best], found.weights[best])

    def compare(self, one: Tensor, other: Tensor) -> tuple[float, float]:
        """Return by how much the first losses [H] are larger in the mean, and its standard error over samples."""
        views, rest = (one - other).double().split([len(self.held), len(self.validation.labels)])
        apart = torch.cat([views.view(self.train.views, -1).mean(dim=0), rest])
        error = float(apart.std()) / len(apart) ** 0.5 if len(apart) > 1 else float("inf")
        return float(apart.mean()), error


@torch.no_grad()
def solve_chosen(head: Taps, task: Task, train: Samples, validation: Samples, seed: int) -> tuple[Solution, Choice]:
    """Let ``head`` read the depths that suit its task best, and set it to the optimum over these.

    Of more than ``MOST`` samples, as many as are drawn by class choose the depths, since the seconds grow with their
    square at least; the penalty is then chosen again, on validation, with all samples.
    """
    scaling = head.scaling
    assert scaling is not None, "it reads taps"
    scaling.fit(train.features.chunks())
    outputs = head.linear.out_features
    few = [draw_few(task, samples, outputs, seed) for samples in (train, validation)]
    standard = [scale_samples(samples, scaling) for samples in few]
    choice = choose_shares(task, scaling.widths, standard[0], standard[1], outputs, seed)
    whole = len(few[0].labels) == len(train.labels)
    penalties = (choice.penalty,) if whole else PENALTIES
    return solve_weighed(head, task, train, validation, choice.shares, penalties), choice


@torch.no_grad()
def solve_weighed(
    head: Taps, task: Task, train: Samples, validation: Samples, shares: Tensor, penalties: Sequence[float]
) -> Solution:
    """Give each tap its share of the variance, and set ``head`` to the optimum; its scaling was fitted before."""
    scaling = head.scaling
    assert scaling is not None, "it reads taps"
    scaling.weigh(shares)
    factors = scaling.spread_factors()
    read, taps = factors > 0, scaling.list_read()
    parts = [
        (samples.features.keep_columns(taps).scale_columns(scaling.centre[read], factors[read]), samples.labels)
        for samples in (train, validation)
    ]
    check_solving_size(len(train.labels), int(read.sum()), "head.taps", read_memory())
    narrow = Linear(int(read.sum()), head.linear.out_features, solver=head.solver, dropout=0.0)
    solution = solve_head(narrow, task, parts[0], parts[1], penalties)
    head.linear.weight.zero_()
    head.linear.weight.index_copy_(1, read.nonzero()[:, 0], narrow.linear.weight)
    head.linear.bias.copy_(narrow.linear.bias)
    return solution


def choose_shares(
    task: Task, widths: Sequence[int], train: Samples, validation: Samples, outputs: int, seed: int
) -> Choice:
    """Return the depths and the penalty with which a head of so many ``outputs`` does best on samples left out.

    ``train`` and ``validation`` are taps of these ``widths``, each scaled to one variance, the features last. Left out
    are each of ``FOLDS`` folds of train in turn, drawn by class as a function of ``seed``, and all of validation. The
    last tap alone is the answer unless another is better by more than one standard error.
    """
    judge = Judge(task, widths, train, validation, outputs, draw_folds(task, train.first, seed))
    unions = list_unions(len(widths))
    library = judge.judge(unions)
    everything = next(one for one in library if len(one.taps) == len(widths))
    strongest = list_strongest(everything, widths)
    library += judge.judge([union for union in strongest if union not in unions])
    shares = share_taps(select_unions(judge, library), len(widths))
    read = tuple(shares.nonzero()[:, 0].tolist())
    (joined,) = judge.judge([read], shares.sqrt().tolist())
    last = next(one for one in library if one.taps == (len(widths) - 1,))
    gain, error = judge.compare(last.losses, joined.losses)
    chosen = joined if gain > error else last
    if chosen is last:
        shares = torch.eye(len(widths))[-1]
    return Choice(shares, chosen.penalty, chosen.loss, last.loss, error)


def list_unions(taps: int) -> list[tuple[int, ...]]:
    """Return the unions that are tried whatever the data: each tap alone, and ends of the network."""
    ends = sorted({min(2, taps), *(max(1, round(taps * share)) for share in ENDS)})
    unions = [(tap,) for tap in range(taps)] + [tuple(range(taps - end, taps)) for end in ends]
    return list(dict.fromkeys(unions))


def list_strongest(everything: Judged, widths: Sequence[int]) -> list[tuple[int, ...]]:
    """Return unions of the taps with the largest weights in a union of all."""
    norms = torch.stack([part.square().sum() for part in everything.weights.split(list(widths), dim=1)])
    order = norms.argsort(descending=True, stable=True).tolist()
    return [tuple(sorted(order[:count])) for count in STRONGEST if count <= len(widths)]


def select_unions(judge: Judge, library: Sequence[Judged]) -> list[Judged]:
    """Return the unions whose outputs have together, in the mean, the least loss on what was left out.

    One at a time is added, perhaps again, that makes the mean best; the list ends with the last that gained something.
    """
    total, chosen, best, kept = torch.zeros_like(library[0].outputs), [], float("inf"), 0
    for count in range(1, ROUNDS + 1):
        losses = [float(judge.measure((total + one.outputs) / count).double().mean()) for one in library]
        place = min(range(len(library)), key=lambda one: losses[one])
        total = total + library[place].outputs
        chosen.append(library[place])
        if losses[place] < best * (1 - GAIN):
            best, kept = losses[place], count
    return chosen[:kept]


def share_taps(chosen: Sequence[Judged], taps: int) -> Tensor:
    """Return the share of each tap [T] in a mean of unions, each of which is divided among its taps alike."""
    shares = torch.zeros(taps)
    for union in chosen:
        shares[list(union.taps)] += 1 / len(union.taps)
    shares[shares < LEAST * shares.max()] = 0
    return shares / shares.sum()
