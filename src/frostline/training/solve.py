"""Solve a linear head to the optimum on fixed features, instead of stepping towards it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.errors import UserError
from frostline.heads import Linear, Taps
from frostline.solving.decompose import decompose_features, estimate_memory
from frostline.solving.path import Question, solve_path
from frostline.solving.rows import Features, make_rows, multiply
from frostline.tasks.base import Task
from frostline.units import format_bytes

PENALTIES = tuple(10.0 ** (-power / 2) for power in range(-2, 7))
"""L2 penalties per sample that are tried, from 10 down to 0.001, so that their meaning does not depend on N."""


@dataclass(frozen=True)
class Solution:
    """The chosen penalty, the validation loss of each one tried, and how often all features were gone over."""

    penalty: float
    losses: dict[float, float]
    passes: int


def check_solving_size(samples: int, width: int, key: str, memory: int) -> None:
    """Refuse to solve a head on features [samples, width] where that takes more than ``memory``. Raises UserError.

    ``key`` is that by which they are chosen: ``head.taps``, or where the head reads no taps ``head.solver``.
    """
    need = estimate_memory(samples, width)
    if need > memory:
        fewer = "fewer taps (head.taps=late, or a list of a few), or " if key == "head.taps" else ""
        raise UserError(
            f"{key}: to solve a head on {width:,} numbers of each of {samples:,} samples takes {format_bytes(need)}, "
            f"and this machine has {format_bytes(memory)} of memory: expected {fewer}head.solver=null."
        )


@torch.no_grad()
def solve_head(
    head: Linear | Taps,
    task: Task,
    train: tuple[Features, Tensor],
    validation: tuple[Features, Tensor],
    penalties: Sequence[float] = PENALTIES,
) -> Solution:
    """Set ``head`` to the optimum of its task on ``train``, of the penalty with the least loss on ``validation``.

    ``train`` and ``validation`` are features [N, D], whole or in parts, and labels [N, ...]; it is solved where the
    features are. It goes from the strongest penalty to weaker ones until the validation loss has risen twice.
    Features are centred and divided by one number while solving, which the head takes back in: see
    `frostline.solving.decompose`.
    """
    device = make_rows(train[0]).device
    labels, checks = train[1].to(device), validation[1].to(device)
    assert task.solver is not None, "checked before training"
    decomposition = decompose_features(train[0])
    importance = task.importance(labels)
    question = Question(task.solver, task.targets(labels), head.linear.out_features, importance=importance)
    losses: dict[float, float] = {}
    solutions: dict[float, tuple[Tensor, Tensor]] = {}
    passes = 0
    for solved in solve_path(decomposition, question, penalties):
        passes += solved.passes
        solutions[solved.penalty] = decomposition.map_weights(solved.weights[0])
        losses[solved.penalty] = float(task.deviance(multiply(validation[0], *solutions[solved.penalty]), checks))
        if min(list(losses.values())[-2:]) > min(losses.values()):
            break  # twice worse than the best: a weaker penalty only overfits more
    best = min(losses, key=lambda penalty: losses[penalty])
    head.linear.weight.copy_(solutions[best][0])
    head.linear.bias.copy_(solutions[best][1])
    return Solution(best, losses, passes)
