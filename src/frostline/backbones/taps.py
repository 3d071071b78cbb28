"""Taps: the depths at which a network can be read, each activation pooled to one vector a sample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from frostline.backbones.base import ADAPTER, FEATURES, Backbone, Cut, evaluating
from frostline.backbones.called import find_called
from frostline.backbones.cuts import Part, Suffix, find_cuts, make_prefix, make_suffix
from frostline.data.inputs import Inputs, Ragged
from frostline.data.sending import Tapped
from frostline.errors import UserError
from frostline.units import join_names

CHOICES = ("late", "all", "auto")
"""What a head may ask for besides names: the deeper half of the taps, all, or all with a choice left to the solver."""
_FOUND: WeakKeyDictionary[Backbone, dict[int, list["Tap"]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Tap(Cut):
    """A cut that is read: its activation pooled to one float32 vector, by mean and maximum.

    It is stored like the activation at a cut, under a ``name`` of its own; ``cut`` is that of the cut, ``label`` what
    users call it, and ``places`` are those over which the cut's activation is pooled.
    """

    cut: str = ""
    label: str = ""

    @property
    def width(self) -> int:
        """How many numbers a sample has."""
        return self.shape[0]


def pool(activation: Inputs, cut: Cut) -> Tensor:
    """Return a batch's activations at a cut as float32 vectors [B, D].

    The mean, and beside it the maximum, over the places of a map, the tokens of a picture, or the real positions of a
    sequence; what is one vector already stays as it is.
    """
    if isinstance(activation, Ragged):
        activation = activation.map(Tensor.float)
        return torch.cat([activation.mean(), activation.max()], dim=1)
    values = activation.float()
    if not cut.places:
        return values.flatten(1)
    return torch.cat([values.mean(dim=cut.places), values.amax(dim=cut.places)], dim=1)


def find_taps(backbone: Backbone, size: int) -> list[Tap]:
    """Return the taps of a network for samples of ``size``, in depth order; the last one is the features.

    A block is read at its end; so is that of a network which cannot be traced, and so not be cut there. What stands
    before the first parameter, or is made by an adapter, is not read.
    """
    known = _FOUND.setdefault(backbone, {})
    if size not in known:
        cuts = find_cuts(backbone, size)
        called = [] if len(cuts) > 1 else find_called(backbone, size)
        chosen = {_label(cut.name): cut for cut in [*called, *cuts]} if called else _end_blocks(cuts)
        with evaluating(backbone), torch.inference_mode():
            values = make_prefix(backbone, [cut.name for cut in chosen.values()])(backbone.example(1, size))
        known[size] = [
            _make_tap(label, cut, pool(value, cut).shape[1])
            for (label, cut), value in zip(chosen.items(), values, strict=True)
        ]
    return known[size]


def _end_blocks(cuts: Sequence[Cut]) -> dict[str, Cut]:
    """Return the last cut of each block, under the block's name, and the features.

    Cuts belong together where no parameter stands between them, and where they stand in the same block: a module in a
    list, so one with a number for its name. Of these the last one is taken that has several places, if one has: what
    comes after it, such as a global pooling, has lost what the maximum over places tells.
    """
    runs: list[list[Cut]] = []
    for cut in cuts:
        if not cut.parameters or cut.name in (ADAPTER, FEATURES):
            continue
        if runs and (cut.parameters == runs[-1][-1].parameters or _block(cut) == _block(runs[-1][-1])):
            runs[-1].append(cut)
        else:
            runs.append([cut])
    ends = [max(run, key=lambda cut: (_count_places(cut) > 1, run.index(cut))) for run in runs]
    blocks = [_block(cut) or cut.name for cut in ends]
    labels = [block if blocks.count(block) == 1 else cut.name for block, cut in zip(blocks, ends, strict=True)]
    named = {_label(label): cut for label, cut in zip(labels, ends, strict=True)}
    return {**named, FEATURES: cuts[-1]}


def _label(name: str) -> str:
    """Return what users call a module or a cut of a backbone."""
    return name.removeprefix("network.")


def _block(cut: Cut) -> str:
    """Return the innermost module with a number for its name, or at its end, in which a cut lies.

    That of a cut whose name is no path is its own; "" where there is none.
    """
    parts = cut.name.split(".")
    numbered = [place for place, part in enumerate(parts) if part.isdigit()]
    numbered = numbered or [place for place, part in enumerate(parts[:-1]) if part[-1:].isdigit()]
    return ".".join(parts[: numbered[-1] + 1]) if numbered else cut.name if len(parts) == 1 else ""


def _count_places(cut: Cut) -> int:
    return math.prod(cut.shape[place - 1] for place in cut.places)


def _make_tap(label: str, cut: Cut, width: int) -> Tap:
    given = {one.name: getattr(cut, one.name) for one in fields(Cut)}
    given |= {"name": f"{cut.name}, pooled", "shape": (width,), "bytes": 4 * width}
    return Tap(**given, cut=cut.name, label=label)


def choose_taps(taps: Sequence[Tap], wanted: str | Sequence[str] | None, where: str = "head.taps") -> list[Tap]:
    """Return the taps that a head reads, in depth order; none where it reads the features alone.

    ``wanted`` is None, one of ``CHOICES``, or a list of names. Raises UserError for what is none of these.
    """
    if wanted is None:
        return []
    if wanted == "late":
        return list(taps[len(taps) // 2 :])
    if isinstance(wanted, str) and wanted in CHOICES:
        return list(taps)
    names = [tap.label for tap in taps]
    if isinstance(wanted, str) or not wanted:
        raise UserError(f"{where}: {wanted!r} is invalid: expected null, {', '.join(CHOICES)}, or a list of taps.")
    for name in wanted:
        if name not in names:
            near = get_close_matches(str(name), names, n=5, cutoff=0.3) or [names[0], names[-1]]
            raise UserError(
                f"{where}: this network has no tap {name!r}; near it are {join_names(near)} (frostline run --taps "
                f"lists all {len(names)})."
            )
    return [tap for tap in taps if tap.label in set(wanted)]


class PooledPrefix(nn.Module):
    """From inputs to what is stored at cuts and at taps, in one pass, in the order they were named."""

    def __init__(self, backbone: Backbone, outputs: Sequence[Cut]) -> None:
        super().__init__()
        self.outputs = list(outputs)
        names = [source_of(one) for one in outputs]
        once = list(dict.fromkeys(names))
        self.prefix = make_prefix(backbone, once)
        self.places = [once.index(name) for name in names]

    def forward(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """Return the values of a batch."""
        values = self.prefix(inputs)
        return tuple(
            pool(values[place], one) if isinstance(one, Tap) else values[place]
            for one, place in zip(self.outputs, self.places, strict=True)
        )


def source_of(output: Cut) -> str:
    """Return the name of the cut whose activation is stored, as it is or pooled."""
    return output.cut if isinstance(output, Tap) else output.name


class JoinedTaps(Part):
    """From inputs, or from what is stored of them, to the taps that a head reads, side by side [B, D].

    Those that are ``stored`` are taken as they are; the others are computed from the activation at ``cut`` (None: from
    the inputs), with their gradients. ``cut`` plays no part where all are stored.
    """

    def __init__(self, backbone: Backbone, taps: Sequence[Tap], cut: Cut | None, stored: Sequence[Tap]) -> None:
        super().__init__()
        self.taps, self.stored = list(taps), list(stored)
        live = [tap.cut for tap in taps if tap not in self.stored]
        self.suffix = Suffix(backbone, cut, live) if live else None

    def refresh(self) -> None:
        """Follow the backbone's present modes, as ``Suffix.refresh`` does."""
        if self.suffix is not None:
            self.suffix.refresh()

    def train(self, mode: bool = True) -> "JoinedTaps":
        """Set the flags of this module and of its suffix alone."""
        super().train(mode)
        if self.suffix is not None:
            self.suffix.train(mode)
        return self

    def forward(self, inputs: Inputs | Tapped) -> Tensor:
        """Return the taps [B, D] of a batch."""
        activation, found = inputs if isinstance(inputs, Tapped) else (inputs, {})
        if self.suffix is not None:
            assert activation is not None, "what is not stored is computed"
            live = dict(zip(self.suffix.ends, self.suffix.run(activation), strict=True))
            found = {**found, **{tap.cut: pool(live[tap.cut], tap) for tap in self.taps if tap.cut in live}}
        return torch.cat([found[tap.cut] for tap in self.taps], dim=1)


def make_body(
    backbone: Backbone, taps: Sequence[Tap] = (), cut: Cut | None = None, stored: Sequence[Tap] = ()
) -> nn.Module:
    """Return what is run before a head: from inputs, or what a phase has stored of them, to what the head reads.

    That is the features, or where there are any the ``taps``. ``cut`` is that of the stored activation.
    """
    if taps:
        return JoinedTaps(backbone, taps, cut, stored)
    return backbone if cut is None else make_suffix(backbone, cut.name)


def joined_width(backbone: Backbone, taps: Sequence[Tap]) -> int:
    """Return how many numbers of a sample a head is given: those of the ``taps``, or (none) the features."""
    return sum(tap.width for tap in taps) or backbone.num_features
