"""Optimizer parameter groups and learning-rate schedules."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from frostline.errors import UserError

Schedule = Callable[[float], float]
"""From the progress of a phase, 0 to 1, to a factor of the learning rate: state from the step, not from history."""


@dataclass(frozen=True)
class Optimization:
    """How a phase takes its steps: ``make`` an optimizer of named parameter groups; ``rate`` is ``optimizer.lr``, which
    each group scales, and ``schedule`` over the phase."""

    make: Callable[[list[dict]], Optimizer]
    rate: float
    schedule: Schedule


def constant(warmup: float) -> Schedule:
    """Full rate after a linear warm-up over the fraction ``warmup`` of the phase."""
    return _warm_up(warmup, lambda progress: 1.0)


def cosine(warmup: float, final: float = 0.0) -> Schedule:
    """Half a cosine from 1 to ``final`` (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts)."""
    return _warm_up(warmup, lambda progress: final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


def linear(warmup: float, final: float = 0.0) -> Schedule:
    """A straight line from 1 to ``final``."""
    return _warm_up(warmup, lambda progress: 1 - (1 - final) * progress)


def one_cycle(warmup: float, start: float = 0.04, final: float = 4e-6) -> Schedule:
    """Cosine up from ``start`` to 1 over ``warmup`` of the phase, then cosine down to ``final``.

    Smith and Topin 2018, arXiv:1708.07120; ``start`` and ``final`` are those of torch.optim.lr_scheduler.OneCycleLR.
    """
    _check_warmup(warmup)

    def factor(progress: float) -> float:
        if progress < warmup:
            return _anneal(start, 1.0, progress / warmup)
        return _anneal(1.0, final, (progress - warmup) / (1 - warmup))

    return factor


def _anneal(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def _warm_up(warmup: float, after: Schedule) -> Schedule:
    _check_warmup(warmup)

    def factor(progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        return after(min((progress - warmup) / (1 - warmup), 1.0))

    return factor


def _check_warmup(warmup: float) -> None:
    if not 0 <= warmup < 1:
        raise UserError(
            f"schedule.warmup: {warmup!r} is invalid: expected a fraction of a phase, from 0 up to, not including, 1."
        )


def make_parameter_groups(
    backbone: nn.Module,
    head: nn.Module,
    rates: Mapping[str, float],
    head_rate: float | None,
    groups: Mapping[str, list[str]],
) -> list[dict]:
    """Return named optimizer groups for exactly the parameters that train, in depth order, the head last.

    ``rates`` maps names of backbone parameters to scales of the learning rate. Vectors and scalars (biases,
    norms) get no weight decay, as is usual since Goyal et al. 2017 (arXiv:1706.02677).
    """
    named = dict(backbone.named_parameters())
    parts: list[tuple[str, float, nn.Parameter]] = []
    for group, names in groups.items():
        parts += [(group, rates[name], named[name]) for name in names if name in rates]
    if head_rate is not None:
        parts += [("head", head_rate, parameter) for parameter in head.parameters()]
    found: dict[tuple[str, float, bool], list[nn.Parameter]] = {}
    for group, rate, parameter in parts:
        found.setdefault((group, rate, parameter.ndim > 1), []).append(parameter)
    return [_make_group(*key, parameters) for key, parameters in found.items()]


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimizer's kept state, with every moment in the memory layout of its parameter.

    A checkpoint holds contiguous tensors, and torch takes them as they come: beside a channels-last weight a foreach
    step would leave its fast path, and a fused one would pair each weight with another's moment.
    """
    optimizer.load_state_dict(state)
    for parameter, held in optimizer.state.items():
        held.update({name: _lay_out(value, parameter) for name, value in held.items()})


def _lay_out(value: Any, parameter: Tensor) -> Any:
    if not isinstance(value, Tensor) or value.shape != parameter.shape or value.stride() == parameter.stride():
        return value
    layout = torch.empty_strided(value.shape, parameter.stride(), dtype=value.dtype, device=value.device)
    return layout.copy_(value)


def _make_group(group: str, rate: float, decays: bool, parameters: list[nn.Parameter]) -> dict:
    decay = {} if decays else {"weight_decay": 0.0}
    return {"params": parameters, "name": group if decays else f"{group}/no_decay", "scale": rate, **decay}
