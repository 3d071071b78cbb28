"""What a run tells beyond its scores: its FLOPs, what training changed in it, and where it is sure and wrong."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frostline.backbones.base import Backbone, evaluating
from frostline.backbones.chains.backbone import mean
from frostline.backbones.cuts import Cut, between
from frostline.backbones.flops import counting
from frostline.data.inputs import Inputs, Ragged, chunks
from frostline.data.order import permutation
from frostline.files.atomic import write_atomic
from frostline.freeze.plan import HEAD, Phase
from frostline.heads import Head
from frostline.run.parts import Parts, trains

SAMPLES = 256
"""Validation samples on which the similarity is taken; the same ones for every run on the same split."""
BATCH = 32
MISTAKES = 12
FOLDER = "mistakes"


@dataclass(frozen=True)
class Work:
    """FLOPs of a stretch of a run: forward and backward passes, and forward passes spared by the cache."""

    forward: float = 0.0
    backward: float = 0.0
    saved: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.forward + other.forward, self.backward + other.backward, self.saved + other.saved)


class Meter:
    """Counts the FLOPs of one run from what one sample takes; leaves gradients and modes as they were.

    The backward pass is measured once for each phase, for it hangs on what trains. In eval mode, as FLOPs do not hang
    on the mode.
    """

    def __init__(self, parts: Parts):
        self.parts = parts
        self.samples = {name: len(split) for name, split in parts.data.splits.items()}
        self.body = parts.cuts[-1].flops
        features = parts.backbone.num_features
        frames = parts.cuts[-1].bytes // (4 * features) if parts.module.task.is_sequence else None
        self.head = head_flops(parts.head, features, frames)
        self._backward: dict[int, float] = {}

    def total(self) -> Work:
        """Return the work of the whole run: every epoch trained and validated, and the test of a run that had one."""
        works = [self.phase(row["epoch"]) for row in self.parts.progress.history]
        if self.parts.config.test:
            index, _ = self.parts.plan.at(self.parts.best_epoch())
            works.append(self.passes(index, self.samples["test"]))
        return sum(works, Work())

    def phase(self, epoch: int) -> Work:
        """Return the work of an epoch, or of the whole phase where that was solved and ``epoch`` is its only row."""
        index, _ = self.parts.plan.at(epoch)
        if self.parts.solves(index):
            return self.solution(index)
        backward = self.samples["train"] * self.backward(index)
        return self.passes(index, self.samples["train"] + self.samples["val"]) + Work(backward=backward)

    def passes(self, index: int, count: int) -> Work:
        """Return the work of ``count`` forward passes in a phase, of which its cache spares the prefix."""
        cut = self.parts.choices[index].cut
        spared = 0 if cut is None else cut.flops
        return Work(count * (self.body - spared + self.head), 0, count * spared)

    def solution(self, index: int) -> Work:
        """Return the work of a solved phase: features once, if they were not cached; then the head, over and over."""
        train, val = self.samples["train"] * len(self.parts.views(index)), self.samples["val"]
        cut = self.parts.choices[index].cut
        cached = cut is not None and cut.name == self.parts.cuts[-1].name
        body = float((train + val) * self.body)
        times = self.parts.progress.passes[index]
        head = self.head * (train * (times + 1) + val)
        return Work(head + (0 if cached else body), train * times * self.backward(index), body if cached else 0.0)

    def backward(self, index: int) -> float:
        """Return what the backward pass of one sample takes in a phase."""
        if index not in self._backward:
            parts = self.parts
            self._backward[index] = backward_flops(
                parts.backbone, parts.head, parts.plan.phases[index], parts.data.typical
            )
        return self._backward[index]


def head_flops(head: Head, features: int, frames: int | None = None) -> float:
    """Return the FLOPs of a head's forward pass for one sample of so many features, or of so many frames of them."""
    device = next(head.parameters()).device
    sample: Inputs = torch.zeros(1, features, device=device)
    if frames is not None:
        sample = Ragged(torch.zeros(1, frames, features, device=device), torch.tensor([frames], device=device))
    with evaluating(head), torch.no_grad(), counting() as counter:
        head(sample)
    return counter.get_total_flops()


def backward_flops(backbone: Backbone, head: Head, phase: Phase, size: int) -> float:
    """Return the FLOPs of the backward pass of a sample of ``size`` where what ``phase`` names trains.

    No gradient stays behind.
    """
    named = dict(backbone.named_parameters())
    wanted = [named[name] for name in trains(phase, backbone)]
    wanted += list(head.parameters()) if HEAD in phase.train else []
    everything = [*named.values(), *head.parameters()]
    before = [parameter.requires_grad for parameter in everything]
    for parameter in everything:
        parameter.requires_grad_(False)
    for parameter in wanted:
        parameter.requires_grad_(True)
    try:
        return _measured(size, backbone, head, wanted)
    finally:
        for parameter, required in zip(everything, before, strict=True):
            parameter.requires_grad_(required)


def _measured(size: int, backbone: Backbone, head: Head, wanted: Sequence[Tensor]) -> float:
    head.to(backbone.device)
    with evaluating(backbone), evaluating(head), torch.enable_grad():
        outputs = head(backbone(backbone.example(1, size)))
        with counting() as counter:  # of any loss: only products are counted
            torch.autograd.grad(
                (outputs.values if isinstance(outputs, Ragged) else outputs).sum(), wanted, allow_unused=True
            )
    return counter.get_total_flops()


def moved(parts: Parts) -> dict[str, float]:
    """Return how far each group's parameters lie from where the run began: |now - then| / |then|, in L2."""
    named = dict(parts.backbone.named_parameters())
    result = {}
    for group, names in parts.backbone.groups.items():
        now = [named[name].detach().cpu().double() for name in names]
        then = [parts.weights.parameters.get(name, named[name].detach()).cpu().double() for name in names]
        distance = math.hypot(*(float((a - b).norm()) for a, b in zip(now, then, strict=True)))
        length = math.hypot(*(float(b.norm()) for b in then))
        result[group] = distance / length if length else math.nan
    return result


def similarity(parts: Parts) -> dict[str, float]:
    """Return for each group the linear CKA of its output before training and after, on validation samples.

    A group's output is the last cut inside it: of a map the mean over its places, of a sequence the mean over its
    tokens. A group at whose output nothing has changed has 1.0 without a look; one without a cut of its own, as in a
    network that cannot be traced, is not there.
    """
    changed = frozenset(parts.weights.changed())
    outputs = group_outputs(parts.backbone, parts.cuts)
    found = {group: cut for group, cut in outputs.items() if (cut.parameters | cut.buffers) & changed}
    result = dict.fromkeys(outputs, 1.0)
    if found:
        cuts, start = list(found.values()), cached_below(parts, changed)
        samples = sampled(parts, start)
        after = group_features(parts, start, cuts, samples)
        with parts.weights.as_begun():
            before = group_features(parts, start, cuts, samples)
        result |= {group: cka(*both) for group, *both in zip(found, before, after, strict=True)}
    return result


def group_outputs(backbone: Backbone, cuts: Sequence[Cut]) -> dict[str, Cut]:
    """Return the last cut inside each group that has one, in depth order; ``cuts`` are in depth order too."""
    place = {name: number for number, names in enumerate(backbone.groups.values()) for name in names}
    groups = list(backbone.groups)
    found = {groups[max(place[name] for name in cut.parameters)]: cut for cut in cuts if cut.parameters}
    return {group: found[group] for group in groups if group in found}


def cached_below(parts: Parts, changed: frozenset[str]) -> Cut | None:
    """Return the deepest cut at which this run read the cache and below which nothing has changed."""
    cuts = [choice.cut for choice in parts.choices if choice.cut is not None]
    unchanged = [cut for cut in cuts if not (cut.parameters | cut.buffers) & changed]
    return max(unchanged, key=lambda cut: cut.flops, default=None)


def sampled(parts: Parts, start: Cut | None) -> Inputs:
    """Return validation samples, ``SAMPLES`` at most, from the cache at ``start`` or (None) as the data has them."""
    split = parts.data.splits["val"]
    chosen = permutation(len(split), "similarity")[:SAMPLES]
    if start is None:
        return split.peek(chosen)
    held = parts.cache.collect("val", start, [0]).inputs(chosen, 0)
    return Ragged(held.values.float(), held.lengths) if isinstance(held, Ragged) else held.float()


def group_features(parts: Parts, start: Cut | None, cuts: Sequence[Cut], samples: Inputs) -> list[Tensor]:
    """Return the pooled activations [n, D] at each of ``cuts``, of ``samples`` that stand at ``start``.

    The backbone moves before inference mode begins: a buffer that moves inside it can never be written again.
    """
    backbone, names = parts.backbone.to(parts.cache.device), [cut.name for cut in cuts]
    network = between(backbone, None if start is None else start.name, names)
    with torch.inference_mode(), evaluating(backbone):
        outputs = [network(batch.to(parts.cache.device)) for batch in chunks(samples, BATCH)]
    return [torch.cat([pooled(batch).cpu() for batch in batches]) for batches in zip(*outputs, strict=True)]


def pooled(activation: Inputs) -> Tensor:
    """Return [B, D] of a map [B, D, S, S] or [B, S, S, D], a sequence [B, tokens, D] or a vector [B, D]."""
    if isinstance(activation, Ragged):
        return mean(activation)
    if activation.ndim == 4:
        _, first, second, last = activation.shape
        return activation.mean(dim=(1, 2) if first == second != last else (2, 3))  # images are square, so maps are
    return activation.mean(dim=1) if activation.ndim == 3 else activation.flatten(1)


def cka(x_ND: Tensor, y_NE: Tensor) -> float:
    """Return the linear centred kernel alignment of two sets of features of the same N samples, from 0 to 1.

    Kornblith et al. 2019, Similarity of Neural Network Representations Revisited (ICML): |Y'X|^2 / (|X'X| |Y'Y|) of
    centred features, in Frobenius norms; with more features than samples by the Gram matrices, which is the same.
    NaN where one of the two does not vary. With few samples and many features it comes out too high for features that
    have nothing in common, so compare values taken on the same number of samples only.
    """
    x_ND, y_NE = (value.double() - value.double().mean(dim=0) for value in (x_ND, y_NE))
    if max(x_ND.shape[1], y_NE.shape[1]) > len(x_ND):
        x_ND, y_NE = x_ND @ x_ND.T, y_NE @ y_NE.T
        return float((x_ND * y_NE).sum() / (x_ND.norm() * y_NE.norm()))
    return float((y_NE.T @ x_ND).norm() ** 2 / ((x_ND.T @ x_ND).norm() * (y_NE.T @ y_NE).norm()))


def mistakes(parts: Parts, outputs: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """Return the predictions of the test split that are most wrong, and write their pictures.

    The worst first, at most ``MISTAKES``; of classes those that the network was surest of. ``picture`` is a path in
    the run's folder, or None for what cannot be seen.
    """
    for old in (parts.folder / FOLDER).glob("*.png"):
        old.unlink()
    worst = parts.task.worst(outputs, labels, MISTAKES)
    chosen = [index for index, _ in worst]
    names = [parts.data.splits["test"].names[index] for index in chosen]
    rows = parts.task.predictions(names, parts.data.classes, labels[chosen], outputs[chosen])
    return [
        {
            **{column: row[column] for column in ("sample", "label", "prediction")},
            **how_wrong,
            "picture": _picture(parts, index, f"{FOLDER}/{number:02d}.png"),
        }
        for number, ((index, how_wrong), row) in enumerate(zip(worst, rows, strict=True))
    ]


def _picture(parts: Parts, index: int, path: str) -> str | None:
    content = parts.data.preview("test", index)
    if content is None:
        return None
    write_atomic(parts.folder / path, content)
    return path
