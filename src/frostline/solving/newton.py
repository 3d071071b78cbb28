"""Newton's method for many convex problems at once, its steps by conjugate gradients that the decomposition conditions.

The Hessian of one output is X'WX + penalty with a weight for each sample. In the coordinates of a `Decomposition`
X'X is diagonal, so with the mean weight in place of each one the Hessian is diagonal too: mean weight times moment +
penalty. Boehning 1992 (Multinomial logistic regression algorithm, Ann. Inst. Stat. Math. 44) has the bound of 1/2 in
place of the mean weight; the mean itself needs a third of its passes. L-BFGS with the same diagonal needs three times
as many as this.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from frostline.solving.decompose import Decomposition
from frostline.solving.losses import Loss
from frostline.solving.rows import CHUNK
from frostline.solving.threads import add_tensors, divide_range, share_threads

T = TypeVar("T")
R = TypeVar("R")

TOLERANCE = 5e-3
"""A problem is solved when its gradient is below this share of the penalty times its weights, both as lengths: its
weights are then off by at most this share of their length, and in what matters to the loss by far less."""
NOISE = 3e-7
"""Of the root of the sum of the moments: what single precision leaves of a gradient that is zero."""
STEPS = 100
"""Newton steps at most; usual are 2 to 6."""
INNER = 500
"""Conjugate gradient steps at most in one Newton step; usual are 3 to 50."""
ROUNDING = 1e-5
"""Of an objective: more than single precision leaves uncertain of it."""
HALVINGS = 30
"""So many lengths of a step are tried at most; usual is 1."""
FORCING = 0.1
"""A Newton step ends when what is left of the gradient in it is this share of the gradient."""
BIAS = 1e-6
"""The penalty of biases: none that a test could find, but a class without samples keeps a finite bias."""
WORTH = 2**24
"""So many multiplications are worth a thread: a millisecond."""
BLOCK = 2**19
"""So many outputs of all problems together are computed at a time: they stay in the processor's cache."""


@dataclass(frozen=True)
class Problems:
    """B problems over N samples, each with C outputs.

    ``targets`` are as the loss has them, ``share_BN`` says how much a sample counts: the loss is the sum of the
    samples' losses times their shares. To it comes half the penalty times the squared weights.
    """

    loss: Loss
    outputs: int
    targets: Tensor
    share_BN: Tensor

    def select(self, problems: Tensor) -> "Problems":
        """Return some of the problems."""
        chosen = self.loss.choose_targets(self.targets, problems)
        return Problems(self.loss, self.outputs, chosen, self.share_BN[problems])


@dataclass(frozen=True)
class Minimum:
    """Weights [B, C, K] of coordinates; how often all samples were gone over for each problem [B]."""

    weights: Tensor
    passes_B: Tensor


@dataclass(frozen=True)
class Place:
    """Where B problems stand: weights [B, C, K], the objective [B], its gradient, and what its Hessian needs.

    ``states`` are those of blocks of samples, in a list for each share of the samples.
    """

    weights: Tensor
    objective_B: Tensor
    gradient: Tensor
    bend_BC: Tensor
    states: list[list[Tensor]]

    def select(self, problems: Tensor) -> "Place":
        """Return where some of the problems stand."""
        states = [[state[problems] for state in share] for share in self.states]
        weights, gradient = self.weights[problems], self.gradient[problems]
        return Place(weights, self.objective_B[problems], gradient, self.bend_BC[problems], states)


@dataclass(frozen=True)
class Objective:
    """The objective of B problems over one decomposition; ``shares`` of the samples are gone over at the same time."""

    decomposition: Decomposition
    problems: Problems
    penalty_BK: Tensor
    shares: list[range]
    pool: ThreadPoolExecutor

    def select(self, problems: Tensor) -> "Objective":
        """Return the objective of some of the problems."""
        chosen = self.problems.select(problems)
        return Objective(self.decomposition, chosen, self.penalty_BK[problems], self.shares, self.pool)

    def evaluate(self, weights: Tensor) -> Place:
        """Go over all samples once: the objective and its derivatives at ``weights`` [B, C, K]."""
        lowered = self.decomposition.prepare_weights(weights.flatten(0, 1))
        losses, gradients, bends, states = zip(
            *self._map(lambda share: self._evaluate(lowered, share), self.shares), strict=True
        )
        penalty = self.penalty_BK[:, None]
        objective_B = (penalty * weights.square()).sum(dim=(1, 2), dtype=torch.float64) / 2 + sum(losses)
        gradient = self.decomposition.collect_gradient(add_tensors(gradients)).view_as(weights) + penalty * weights
        return Place(weights, objective_B, gradient, add_tensors(bends), list(states))

    def bend(self, place: Place, direction: Tensor) -> Tensor:
        """Go over all samples once: the Hessian at a place times a direction [B, C, K]."""
        lowered = self.decomposition.prepare_weights(direction.flatten(0, 1))
        shares = list(zip(self.shares, place.states, strict=True))
        found = add_tensors(self._map(lambda share: self._bend(lowered, *share), shares))
        found = self.decomposition.collect_gradient(found).view_as(direction)
        return found.addcmul_(self.penalty_BK[:, None], direction)

    def _map(self, function: Callable[[T], R], shares: Sequence[T]) -> list[R]:
        return [function(shares[0])] if len(shares) == 1 else list(self.pool.map(function, shares))

    def _blocks(self, share: range) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield for a block of samples its chunk of the decomposition, targets and shares."""
        start = share.start
        for chunk in self.decomposition.chunks(share.step, share.start, share.stop):
            end = start + len(chunk)
            yield chunk, self.problems.targets[..., start:end], self.problems.share_BN[:, start:end]
            start = end

    def _evaluate(self, lowered: Tensor, share: range) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Return loss [B], gradient [B * C, width], bend [B, C] and states of a share of the samples."""
        problems, outputs = len(self.penalty_BK), self.problems.outputs
        gradient, states = torch.zeros_like(lowered), []
        loss_B = lowered.new_zeros(problems, dtype=torch.float64)
        bend_BC = lowered.new_zeros(problems, outputs)
        memory = lowered.new_empty(len(lowered) * (share.stop - share.start))  # in one piece: parts leave holes
        for chunk, targets, share_Bn in self._blocks(share):
            state, memory = memory.tensor_split([len(lowered) * len(chunk)])
            torch.mm(lowered, chunk.T, out=state.view(-1, len(chunk)))
            states.append(state.view(problems, outputs, -1))
            found = self.problems.loss.evaluate(states[-1], targets, share_Bn)
            gradient.addmm_(found.residual.flatten(0, 1), chunk)
            loss_B += found.loss
            bend_BC += found.bend
        return loss_B, gradient, bend_BC, states

    def _bend(self, lowered: Tensor, share: range, states: list[Tensor]) -> Tensor:
        """Return the Hessian's product [B * C, width] of a share of the samples."""
        found = torch.zeros_like(lowered)
        for (chunk, _, share_Bn), state in zip(self._blocks(share), states, strict=True):
            along = (lowered @ chunk.T).view_as(state)
            found.addmm_(self.problems.loss.bend_outputs(state, along, share_Bn).flatten(0, 1), chunk)
        return found


@torch.no_grad()
def minimise(
    decomposition: Decomposition,
    problems: Problems,
    penalty_B: Tensor,
    start: Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> Minimum:
    """Return the optimum of each problem, from ``start`` [B, C, K] or from zero.

    Each problem is stopped by itself, and leaves the batch: its optimum does not depend on which others are solved
    beside it, up to ``tolerance``. What is kept of each sample are its C outputs for each problem, those of two places
    at a time: besides the decomposition this takes 4 bytes for B * C * (2 * N + 10 * K) numbers, and what a few blocks
    of at most 1,024 samples take, features [1024, D] and outputs. No more of features that are mapped is in memory.
    """
    width = len(decomposition.moments)
    if start is None:
        start = decomposition.moments.new_zeros(len(penalty_B), problems.outputs, width)
    penalty_BK = penalty_B.to(start)[:, None].repeat(1, width)
    penalty_BK[:, -1] = BIAS
    weights, passes_B = start.clone(), torch.ones_like(penalty_B, dtype=torch.long)
    left = torch.arange(len(start), device=start.device)
    with share_threads() as (threads, pool):
        shares = _divide_samples(decomposition, len(penalty_B) * problems.outputs, threads)
        objective = Objective(decomposition, problems, penalty_BK, shares, pool)
        place = objective.evaluate(start)
        moving = torch.ones_like(left, dtype=torch.bool)
        for _ in range(STEPS):
            limit_B = _limit(place.weights, objective, tolerance)
            length_B = place.gradient.norm(dim=(1, 2))
            going = (length_B > limit_B) & moving
            if not going.all():
                if not going.any():
                    break
                going = going.nonzero()[:, 0]
                left, limit_B, length_B = left[going], limit_B[going], length_B[going]
                objective, place = objective.select(going), place.select(going)
            step, times_B = _solve_step(objective, place, limit_B)
            before_B = place.objective_B
            place, tried = _search_line(objective, place, step)
            fallen = before_B - place.objective_B > ROUNDING * before_B.abs()
            moving = fallen | (place.gradient.norm(dim=(1, 2)) < length_B / 2)
            weights[left] = place.weights
            passes_B[left] += times_B + tried
    return Minimum(weights, passes_B)


def _divide_samples(decomposition: Decomposition, outputs: int, threads: int) -> list[range]:
    """Return the shares of the samples that threads go over, in steps of a block."""
    samples = len(decomposition)
    work = samples * len(decomposition.moments) * outputs
    shares = max(1, min(threads, work // WORTH)) if decomposition.device.type == "cpu" else 1
    block = max(64, min(CHUNK, BLOCK // outputs))
    return divide_range(samples, shares, block)


def _limit(weights: Tensor, objective: Objective, tolerance: float) -> Tensor:
    """Return for each problem the length of gradient at which it is solved."""
    noise_B = NOISE * objective.decomposition.moments.sum().sqrt() * objective.problems.share_BN.sum(dim=1)
    return tolerance * objective.penalty_BK[:, 0] * weights[..., :-1].norm(dim=(1, 2)) + noise_B


def _solve_step(objective: Objective, place: Place, limit_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Newton step [B, C, K] by conjugate gradients, and how often they went over all samples [B]."""
    diagonal = place.bend_BC[..., None] * objective.decomposition.moments + objective.penalty_BK[:, None]
    step, rest = torch.zeros_like(place.gradient), -place.gradient
    aim_B = torch.maximum(FORCING * rest.norm(dim=(1, 2)), limit_B / 2)
    scaled = rest / diagonal
    direction, product_B = scaled, _dot(rest, scaled)
    going_B = torch.ones_like(aim_B, dtype=torch.bool)
    times_B = torch.zeros_like(aim_B, dtype=torch.long)
    for _ in range(INNER):
        times_B += going_B
        bent = objective.bend(place, direction)
        length_B = torch.where(going_B, product_B / _dot(direction, bent), 0.0)[:, None, None]
        step = step.addcmul_(length_B, direction)
        rest = rest.addcmul_(-length_B, bent)
        going_B &= rest.norm(dim=(1, 2)) > aim_B
        if not going_B.any():
            break
        scaled = rest / diagonal
        before_B, product_B = product_B, _dot(rest, scaled)
        share_B = torch.where(going_B, product_B / before_B, 0.0)
        direction = scaled.addcmul_(share_B[:, None, None], direction)
    return step, times_B


def _search_line(objective: Objective, place: Place, step: Tensor) -> tuple[Place, int]:
    """Return the place after a step, halved for a problem until its objective falls, and how many were tried.

    Near the optimum it falls by less than single precision can tell; there the slope along the step decides, as in
    the approximate Wolfe conditions of Hager and Zhang 2005 (SIAM J. Optim. 16), Eq. 23.
    """
    slope_B = _dot(place.gradient, step)
    length_B, tried = torch.ones_like(slope_B), 0
    while True:
        found = objective.evaluate(place.weights + length_B[:, None, None] * step)
        tried += 1
        falls_B = found.objective_B <= place.objective_B + 1e-4 * length_B * slope_B
        level_B = found.objective_B <= place.objective_B * (1 + ROUNDING)
        level_B &= _dot(found.gradient, step) <= -0.8 * slope_B
        if (falls_B | level_B).all() or tried == HALVINGS:
            return found, tried
        length_B = torch.where(falls_B | level_B, length_B, length_B / 2)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=(1, 2))
