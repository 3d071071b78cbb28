"""The backbone of texts and sounds: a chain of blocks over sequences, pooled to one vector a sample."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from frostline.backbones.base import ADAPTER, FEATURES, Backbone, Cut, evaluating
from frostline.backbones.chains.chain import EMBEDDINGS, END, NORM, Chain
from frostline.backbones.flops import count_flops
from frostline.data.inputs import Inputs, Preprocess, Ragged, find_item_shape, take_values
from frostline.errors import UserError, make_choice_error


def take_first_position(hidden: Ragged) -> Tensor:
    """Return the first position [B, D]: BERT's [CLS]."""
    return hidden.values[:, 0]


def take_last(hidden: Ragged) -> Tensor:
    """Return the last real position [B, D]: all that a decoder, or an LSTM, has seen."""
    rows = torch.arange(hidden.values.shape[0], device=hidden.values.device)  # len would be one number to a tracer
    return hidden.values[rows, hidden.lengths - 1]


def keep_all(hidden: Ragged) -> Ragged:
    """Return all positions, for a head that works on each."""
    return hidden


POOLING: dict[str, Callable[[Ragged], Inputs]] = {
    "mean": Ragged.mean,
    "first": take_first_position,
    "last": take_last,
    "max": Ragged.max,
    "none": keep_all,
}


class SequenceBackbone(Backbone):
    """A chain of blocks and a way to pool: ``Ragged`` to float features [B, num_features].

    With ``pooling`` none the features are ``Ragged`` [B, T, num_features], a vector for each position. Raises
    UserError for a pooling that does not exist.
    """

    def __init__(
        self,
        network: Chain,
        name: str,
        preprocess: Preprocess,
        pooling: str = "mean",
        *,
        architecture: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if pooling not in POOLING:
            raise make_choice_error("backbone.pooling", pooling, POOLING)
        self.pooling = pooling
        architecture = f"{architecture or name} pooling={pooling}"
        super().__init__(network, name, network.groups(), preprocess, architecture=architecture, notes=notes)
        self.num_features = self.count_features()

    @property
    def chain(self) -> Chain:
        """Return the network."""
        return cast(Chain, self.network)

    def forward(self, inputs: Inputs) -> Inputs:
        """Return the features of a batch."""
        return ChainPart(self, None, [FEATURES])(inputs)[0]

    def make_part(self, start: str | None, ends: Sequence[str]) -> "ChainPart":
        return ChainPart(self, start, ends)

    def attach(self, adapter: nn.Module) -> None:
        """Let frames come from an adapter. Raises UserError where the network has no way in for them."""
        chain = self.chain
        if chain.width is None:
            raise UserError(f"adapter: frames cannot enter {self.name}; choose another backbone, or adapter=none.")
        chain.without_tokens()
        self.groups = {group: [f"network.{one}" for one in members] for group, members in chain.groups().items()}
        super().attach(adapter)

    def count_features(self) -> int:
        with evaluating(self), torch.inference_mode():
            features = self(self.example(1, self.preprocess.size))
        return take_values(features).shape[-1]

    def measure(self, size: int) -> list[Cut]:
        """Return the cuts, with what one sample of ``size`` costs up to each."""
        cuts: list[Cut] = []

        def visit(name: str, value: Inputs) -> None:
            cuts.append(self._cut(name, value, counter.get_total_flops()))

        sample = self.example(1, size)  # what it costs to make is the data's
        with evaluating(self), torch.inference_mode(), count_flops() as counter:
            names = [*([ADAPTER] if self.adapter is not None else []), *self.chain.cuts, FEATURES]
            self.travel(sample, None, names, visit)
        return cuts

    def _cut(self, name: str, value: Inputs, flops: int) -> Cut:
        names = [name for name, _ in self.named_parameters()]
        buffers = [name for name, _ in self.named_buffers()]
        size, used = 4 * take_values(value).numel(), self._up_to(name, buffers)
        return Cut(name, self._up_to(name, names), find_item_shape(value), size, flops, used)

    def _up_to(self, cut: str, names: Sequence[str]) -> frozenset[str]:
        """Return those of ``names`` that are used up to a cut."""
        if cut == FEATURES:
            return frozenset(names)
        own = {name for name in names if name.startswith(f"{ADAPTER}.")}
        if cut == ADAPTER:
            return frozenset(own)
        prefix = "network."
        owned = self.chain.group_by_owner(name.removeprefix(prefix) for name in names if name.startswith(prefix))
        order = [EMBEDDINGS, *self.chain.cuts[1:], NORM]
        below = order[: order.index(cut) + 1]
        return frozenset(own | {f"{prefix}{name}" for group in below for name in owned.get(group, [])})

    def travel(
        self, value: Inputs, start: str | None, ends: Sequence[str], visit: Callable[[str, Inputs], None]
    ) -> None:
        """Go from ``start`` on, telling ``visit`` of the value at each of ``ends``, until the last of them."""
        left = set(ends)

        def visit_cut(name: str, hidden: Inputs) -> bool:
            if name == END and FEATURES in left:
                name, hidden = FEATURES, POOLING[self.pooling](hidden)  # type: ignore[arg-type]
            if name in left:
                left.discard(name)
                visit(name, hidden)
            return not left

        if start is None and self.adapter is not None:
            value, start = self.adapter(value), ADAPTER
            if visit_cut(ADAPTER, value):
                return
        assert isinstance(value, Ragged), f"{self.name} takes sequences"
        self.chain.run(value, start, visit_cut)


class ChainPart(nn.Module):
    """The part of a sequence backbone from one cut to others."""

    def __init__(self, backbone: SequenceBackbone, start: str | None, ends: Sequence[str]) -> None:
        super().__init__()
        self.network, self.adapter = backbone.network, backbone.adapter
        self._backbone, self.start, self.ends = [backbone], start, list(ends)

    def forward(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """Return the values at the cuts, in the order they were named."""
        found: dict[str, Inputs] = {}
        self._backbone[0].travel(inputs, self.start, self.ends, found.__setitem__)
        return tuple(found[name] for name in self.ends)
