"""The weights of a run: what a checkpoint holds, and whether every rank has the same."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256

import torch
from torch import Tensor, nn

from frostline.backbones.base import ADAPTER, Backbone
from frostline.errors import UserError
from frostline.files.atomic import sha256_json
from frostline.freeze.plan import HEAD, Plan, find_rate_scales
from frostline.ranks.collectives import Ranks

log = logging.getLogger(__name__)


class Weights:
    """The weights that a plan changes: what a checkpoint holds, and what it is restored to.

    That is every parameter that trains in some phase, the head, what an adapter measured on the training data, and
    those buffers (BatchNorm's statistics) that have moved. Made before anything is restored, it keeps what the run
    began with, in a resumed run too.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, plan: Plan):
        self.backbone, self.head = backbone, head
        kinds = backbone.kinds()
        self.trains = {name for phase in plan.phases for name in find_rate_scales(phase, backbone.groups, kinds)}
        self.parameters = {n: p.detach().cpu().clone() for n, p in backbone.named_parameters() if n in self.trains}
        self.buffers = {name: buffer.detach().cpu().clone() for name, buffer in backbone.named_buffers()}
        self.measured = {f"{ADAPTER}.{name}" for name in backbone.adapter.state_dict()} if backbone.adapter else set()

    def collect_changed(self) -> dict[str, Tensor]:
        """Return the backbone's own tensors, by name, that are no longer what the run began with."""
        now = {**dict(self.backbone.named_parameters()), **dict(self.backbone.named_buffers())}
        first = {**self.parameters, **self.buffers}
        return {name: now[name] for name, value in first.items() if not torch.equal(now[name].cpu(), value)}

    @contextmanager
    def as_begun(self) -> Iterator[None]:
        """Give the backbone for a while the weights that the run began with."""
        tensors = self.collect_changed()
        present = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        try:
            _fill(tensors, {**self.parameters, **self.buffers})
            yield
        finally:
            _fill(tensors, present)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors to keep."""
        kept: dict[str, Tensor] = {n: value for n, value in self.backbone.named_parameters() if n in self.trains}
        for name, buffer in self.backbone.named_buffers():
            if name in self.measured or not torch.equal(buffer.cpu(), self.buffers[name]):
                kept[name] = buffer
        return {"backbone": kept, "head": dict(self.head.state_dict())}

    @torch.no_grad()
    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore what ``state`` returned. Raises UserError for the checkpoint of another network."""
        buffers = dict(self.backbone.named_buffers())
        own = {**dict(self.backbone.named_parameters()), **buffers, **_add_prefix(self.head.state_dict())}
        saved = {**state["backbone"], **_add_prefix(state["head"])}
        needed = self.trains | set(_add_prefix(self.head.state_dict()))
        missing, unexpected = needed - set(saved), set(saved) - needed - set(buffers)
        misfits = [name for name in saved if name in own and own[name].shape != saved[name].shape]
        if missing or unexpected or misfits:
            raise UserError(
                "the checkpoint is of another network: "
                f"missing {sorted(missing)}, unexpected {sorted(unexpected)}, of another shape {sorted(misfits)}; "
                "start the run anew with force=true."
            )
        for name, buffer in buffers.items():
            buffer.copy_(self.buffers[name])
        for name, value in saved.items():
            own[name].copy_(value)


@torch.no_grad()
def _fill(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def _add_prefix(head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a head's tensors under names that no backbone has."""
    return {f"head.{name}": value for name, value in head.items()}


def check_equal(ranks: Ranks, backbone: Backbone, head: nn.Module, phase: str) -> None:
    """Raise RuntimeError, naming the groups, unless every rank holds the same weights and buffers, to the bit."""
    if ranks.world == 1:
        return
    sums = hash_groups(backbone, head)
    each = ranks.gather_values(sums)
    apart = [name for name in sums if any(other[name] != sums[name] for other in each)]
    if apart:
        raise RuntimeError(f"after phase {phase} the ranks differ in the weights of {', '.join(apart)}")
    log.info("After phase %s all %d ranks hold the same weights: %s.", phase, len(each), sha256_json(sums)[:16])


def hash_groups(backbone: Backbone, head: nn.Module) -> dict[str, str]:
    """Return a SHA-256 of the parameters of each group, of the head, and of all buffers."""
    named = dict(backbone.named_parameters())
    tensors = {group: [named[name] for name in names] for group, names in backbone.groups.items()}
    tensors |= {HEAD: list(head.state_dict().values()), "buffers": list(backbone.buffers())}
    return {name: _hash_tensors(values) for name, values in tensors.items()}


def _hash_tensors(tensors: Sequence[Tensor]) -> str:
    total = sha256()
    for tensor in tensors:
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
