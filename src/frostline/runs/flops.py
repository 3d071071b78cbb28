"""The one model of what a run computes: FLOPs of its phases, before it starts and after it has ended."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from frostline.backbones.base import Backbone, evaluating
from frostline.backbones.flops import count_flops
from frostline.data.inputs import Inputs, Ragged, take_values
from frostline.features.policy import CachePolicy
from frostline.freeze.plan import HEAD, Phase, find_rate_scales
from frostline.heads import Head
from frostline.runs.build import Ingredients


@dataclass(frozen=True)
class Work:
    """FLOPs of a stretch of a run: forward and backward passes, and forward passes spared by the cache."""

    forward: float = 0.0
    backward: float = 0.0
    saved: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.forward + other.forward, self.backward + other.backward, self.saved + other.saved)

    def times(self, count: float) -> "Work":
        """Return the work of ``count`` such stretches."""
        return Work(self.forward * count, self.backward * count, self.saved * count)


class WorkModel:
    """Reckons the FLOPs of one run from what one sample takes; leaves gradients and modes as they were.

    The backward pass of a phase is measured, since it depends on what trains, and ``share`` keeps it for other runs of
    the same network: it is given a key and what to call. In eval mode, for FLOPs do not depend on the mode.
    """

    def __init__(
        self,
        made: Ingredients,
        policy: CachePolicy,
        share: Callable[[Any, Callable[[], Any]], Any] = lambda key, make: make(),
    ):
        self.made, self.policy, self.share = made, policy, share
        self.body = policy.flops
        frames = policy.cuts[-1].bytes // (4 * made.backbone.num_features) if made.task.is_sequence else None
        self.head = count_head_flops(made.head, made.width, frames)
        self._backward: dict[int, float] = {}

    def count_planned(self, test: bool) -> Work:
        """Return the work of the whole plan before it has run; a solver is taken to go over the features once."""
        works = [
            self.count_solution(index, 1) if self.made.is_solved(index) else self.count_epoch(index).times(phase.epochs)
            for index, phase in enumerate(self.made.plan.phases)
        ]
        return sum([*works, *self._test(len(works) - 1, test)], Work())

    def count_done(self, history: Sequence[Mapping[str, Any]], passes: Mapping[int, int], tested: int | None) -> Work:
        """Return the work of a run that has ended, from its rows of history.

        ``passes`` says of each phase that was solved how often its solver went over the features, ``tested`` which
        epoch was tested (None: none). A solved phase has one row, which stands for all of it.
        """
        places = [self.made.plan.at(row["epoch"])[0] for row in history]
        works = [
            self.count_solution(index, passes[index]) if self.made.is_solved(index) else self.count_epoch(index)
            for index in places
        ]
        last = 0 if tested is None else self.made.plan.at(tested)[0]
        return sum([*works, *self._test(last, tested is not None)], Work())

    def _test(self, index: int, wanted: bool) -> list[Work]:
        return [self.count_passes(index, self.made.samples["test"])] if wanted else []

    def count_epoch(self, index: int) -> Work:
        """Return the work of one epoch of a phase that is trained in steps, its validation included."""
        train, val = self.made.samples["train"], self.made.samples["val"]
        return self.count_passes(index, train + val) + Work(backward=train * self.backward(index))

    def count_passes(self, index: int, count: int) -> Work:
        """Return the work of ``count`` forward passes in a phase, of which its cache spares the prefix."""
        spared = self.policy.count_spared(index)
        return Work(count * (self.body - spared + self.head), 0, count * spared)

    def count_solution(self, index: int, times: int) -> Work:
        """Return the work of a solved phase: features once, if they were not cached; then the head, over and over."""
        train, val = self.made.samples["train"] * len(self.policy.list_views(index)), self.made.samples["val"]
        cached, body = self.policy.reads_stored(index), float((train + val) * self.body)
        head = self.head * (train * (times + 1) + val)
        return Work(head + (0 if cached else body), train * times * self.backward(index), body if cached else 0.0)

    def backward(self, index: int) -> float:
        """Return what the backward pass of one sample takes in a phase."""
        if index not in self._backward:
            made, phase = self.made, self.made.plan.phases[index]
            key = [
                "backward",
                id(made.backbone),
                [tap.cut for tap in made.taps],
                str(made.head),
                made.data.typical,
                phase.to_dict()["train"],
            ]
            network, size = (made.backbone, made.body, made.head), made.data.typical
            self._backward[index] = self.share(key, lambda: count_backward_flops(*network, phase, size))
        return self._backward[index]


def count_head_flops(head: Head, features: int, frames: int | None = None) -> float:
    """Return the FLOPs of a head's forward pass for one sample of so many features, or of so many frames of them."""
    device = next(head.parameters()).device
    sample: Inputs = torch.zeros(1, features, device=device)
    if frames is not None:
        sample = Ragged(torch.zeros(1, frames, features, device=device), torch.tensor([frames], device=device))
    with evaluating(head), torch.no_grad(), count_flops() as counter:
        head(sample)
    return counter.get_total_flops()


def count_backward_flops(backbone: Backbone, body: nn.Module, head: Head, phase: Phase, size: int) -> float:
    """Return the FLOPs of the backward pass of a sample of ``size`` where what ``phase`` names trains.

    ``body`` is what of the backbone the head reads. No gradient stays behind.
    """
    named = dict(backbone.named_parameters())
    wanted = [named[name] for name in find_rate_scales(phase, backbone.groups, backbone.kinds())]
    wanted += list(head.parameters()) if HEAD in phase.train else []
    head.to(backbone.device)
    with require_gradients([*named.values(), *head.parameters()], wanted), evaluating(backbone), evaluating(head):
        with torch.enable_grad():
            outputs = head(body(backbone.example(1, size)))
        with count_flops() as counter:  # of any loss: only products are counted
            torch.autograd.grad(take_values(outputs).sum(), wanted, allow_unused=True)
    return counter.get_total_flops()


@contextmanager
def require_gradients(everything: Sequence[Tensor], wanted: Sequence[Tensor]) -> Iterator[None]:
    """Let only the parameters ``wanted`` require a gradient for a while."""
    before = [parameter.requires_grad for parameter in everything]
    chosen = {id(parameter) for parameter in wanted}
    for parameter in everything:
        parameter.requires_grad_(id(parameter) in chosen)
    try:
        yield
    finally:
        for parameter, required in zip(everything, before, strict=True):
            parameter.requires_grad_(required)
