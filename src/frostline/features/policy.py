"""For each phase of a plan: at which cut it is cached, which views it sees, what stays as it is for later phases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, check_cut, find_cuts
from frostline.backbones.taps import Tap
from frostline.data.base import DataModule
from frostline.freeze.plan import Plan, find_rate_scales
from frostline.units import format_bytes

FLOPS_PER_SECOND = {"cpu": 2e10, "cuda": 1e13}
BYTES_PER_SECOND = {"cpu": 1e9, "cuda": 4e9}
"""Orders of magnitude, not measurements: a decision that depended on a timing could differ when a run is resumed."""


@dataclass(frozen=True)
class Choice:
    """The cut at which a phase's activations are stored, the taps that are stored of it, and the reason in a few words.

    Without either the frozen prefix is run every time. Without a cut, all that the head reads is among the taps.
    """

    cut: Cut | None
    reason: str
    taps: tuple[Tap, ...] = ()

    @property
    def stored(self) -> list[Cut]:
        """What is stored, the deepest last; a tap that is the activation at the cut is stored once."""
        return [*self.taps, *(cut for cut in (self.cut,) if cut is not None and not _holds(self.taps, cut))]


def _holds(taps: Sequence[Tap], cut: Cut) -> bool:
    return cut.name in {tap.name for tap in taps}


class Need(NamedTuple):
    """An entry of the cache: a split, a cut or a tap, and a view of the split."""

    split: str
    cut: Cut
    view: int


class CachePolicy:
    """What is cached of each phase of a run, asked by the run itself and by the survey before it alike.

    ``taps`` are those that the head reads, none where it reads the features.
    """

    def __init__(
        self,
        plan: Plan,
        backbone: Backbone,
        data: DataModule,
        choices: Sequence[Choice],
        taps: Sequence[Tap] = (),
    ):
        self.plan, self.data = plan, data
        self.cuts = find_cuts(backbone, data.typical)
        self.choices = list(choices)
        self.read = list(taps) or self.cuts[-1:]
        self._trained = [set(find_rate_scales(phase, backbone.groups, backbone.kinds())) for phase in plan.phases]

    def cut(self, index: int) -> Cut | None:
        """Return the cut from which the network is run in a phase, None where from its inputs, or not at all."""
        return self.choices[index].cut

    def list_taps(self, index: int) -> tuple[Tap, ...]:
        """Return the taps that are stored for a phase."""
        return self.choices[index].taps

    def list_stored(self, index: int) -> list[Cut]:
        """Return the cut and the taps that are stored for a phase; nothing where it is not cached."""
        return self.choices[index].stored

    def reads_stored(self, index: int) -> bool:
        """Return whether all that the head reads in a phase is stored: nothing of the network is run."""
        names = {one.name for one in self.list_stored(index)}
        return all(one.name in names for one in self.read)

    def count_spared(self, index: int) -> int:
        """Return the FLOPs of one sample's forward pass that a phase need not do."""
        if self.reads_stored(index):
            return self.flops
        cut = self.cut(index)
        return 0 if cut is None else cut.flops

    @property
    def flops(self) -> int:
        """The FLOPs of one sample's forward pass up to the deepest value that the head reads."""
        return max(one.flops for one in self.read)

    def list_trained(self, index: int) -> set[str]:
        """Return the names of the backbone's parameters that train in a phase."""
        return self._trained[index]

    def list_views(self, index: int) -> list[int]:
        """Return the views of the training samples that a phase sees."""
        return list_views(self.plan, self.data, index)

    def list_kept(self, index: int, start: int = 0) -> list[Cut]:
        """Return what is stored for a phase if no phase from ``start`` up to it trains anything that it is made of."""
        changed = set[str]().union(*self._trained[start:index])
        stored = self.list_stored(index)
        return stored if not any(one.parameters & changed for one in stored) else []

    def list_later(self, index: int) -> list[Cut]:
        """Return what is stored for later phases and stays as it is until then: one pass serves them all."""
        phases = range(index + 1, len(self.plan.phases))
        return list({one.name: one for later in phases for one in self.list_kept(later, index)}.values())

    def list_needs(self, splits: Iterable[str]) -> list[Need]:
        """Return what a run will read from the cache that does not depend on what it has trained by then."""
        return [
            Need(split, one, view)
            for index in range(len(self.plan.phases))
            for one in self.list_kept(index)
            for split in splits
            for view in (self.list_views(index) if split == "train" else [0])
        ]

    def give_up(self, index: int, reason: str) -> None:
        """Let a phase go on uncached, since its activations cannot be stored."""
        self.choices[index] = Choice(None, f"not cached: {reason}")

    def describe_phases(self) -> list[str]:
        """Return for each phase a few words on what is cached, or why not."""
        return [self._text(index) for index in range(len(self.choices))]

    def _text(self, index: int) -> str:
        choice = self.choices[index]
        if not choice.stored:
            return choice.reason
        views, epochs = len(self.list_views(index)), self.plan.phases[index].epochs
        return f"{choice.reason}; {views} pass{'es' if views > 1 else ''} for {epochs} epoch{'s' if epochs > 1 else ''}"


def list_views(plan: Plan, data: DataModule, index: int) -> list[int]:
    """Return the views of the training samples that a phase sees."""
    start = plan.start(index)
    return sorted({data.view(epoch) for epoch in range(start, start + plan.phases[index].epochs)})


def decide_policy(
    plan: Plan,
    backbone: Backbone,
    data: DataModule,
    enabled: bool,
    max_bytes: float,
    device: str,
    taps: Sequence[Tap] = (),
) -> CachePolicy:
    """Return what to cache of each phase: a function of the config and of the data's sizes, of no timing.

    ``enabled`` and ``max_bytes`` are those of the config's node `cache`; ``device`` is the kind that the run trains on;
    ``taps`` are those that the head reads, none where it reads the features. A cut that does not give the network back
    to the bit is not used.
    """
    cuts = find_cuts(backbone, data.typical)
    places = range(len(plan.phases))
    if not enabled or data.views is None:
        why = "data.views is null: every epoch sees fresh views" if enabled else "cache.enabled is false"
        return CachePolicy(plan, backbone, data, [Choice(None, why) for _ in places], taps)

    def choose(index: int) -> Choice:
        # a group that trains in part is in train mode as a whole (its dropout is live), so no cut may lie in it
        trainable = {name for group in plan.phases[index].train for name in backbone.groups.get(group, [])}
        sizes = {name: len(split) for name, split in data.splits.items()}
        samples = sizes["train"] * len(list_views(plan, data, index)) + sizes["val"] + sizes["test"]
        usable = list(cuts)
        while True:
            choice = choose_stored(usable, taps, trainable, samples, max_bytes, device)
            if choice.cut is None or check_cut(backbone, choice.cut.name, data.typical):
                return choice
            usable.remove(choice.cut)

    return CachePolicy(plan, backbone, data, [choose(index) for index in places], taps)


def choose_stored(
    cuts: Sequence[Cut], taps: Sequence[Tap], trainable: set[str], samples: int, max_bytes: float, device: str = "cpu"
) -> Choice:
    """Choose what to store for a phase in which ``trainable`` trains, whose head reads ``taps`` (none: the features).

    Where all taps are frozen they are all that is stored, and the network is not run. Else those at or below the cut
    are stored beside its activation.
    """
    if not taps:
        return choose_cut(cuts, trainable, samples, max_bytes, device)
    if not any(tap.parameters & trainable for tap in taps):
        need = sum(tap.bytes for tap in taps) * samples
        if need > max_bytes:
            return Choice(None, f"needs {format_bytes(need)}, cache.max_gb allows {format_bytes(max_bytes)}")
        return Choice(None, f"{len(taps)} tap{'s' if len(taps) > 1 else ''}, {format_bytes(need)}", tuple(taps))
    depth = {cut.name: place for place, cut in enumerate(cuts)}

    def below(cut: Cut) -> tuple[Tap, ...]:
        return tuple(tap for tap in taps if depth.get(tap.cut, len(cuts)) <= depth[cut.name])

    # a cut is dearer by the taps below it, which would have been computed on the way
    priced = [replace(cut, bytes=sum(one.bytes for one in Choice(cut, "", below(cut)).stored)) for cut in cuts]
    choice = choose_cut(priced, trainable, samples, max_bytes, device)
    if choice.cut is None:
        return choice
    cut = next(cut for cut in cuts if cut.name == choice.cut.name)
    return Choice(cut, choice.reason, below(cut))


def choose_cut(cuts: Sequence[Cut], trainable: set[str], samples: int, max_bytes: float, device: str = "cpu") -> Choice:
    """Choose where to cut for a phase in which the backbone parameters ``trainable`` train.

    Every cut before the first trainable parameter is exact; among them the one is taken at which reading an
    activation and computing the rest of the frozen part costs least. ``samples`` counts all activations that
    would be stored (views included).
    """
    frozen = [cut for cut in cuts if cut.parameters and not cut.parameters & trainable]
    if not frozen:
        return Choice(None, "nothing below the first trainable layer is frozen")
    flops, bandwidth = FLOPS_PER_SECOND.get(device, 1e13), BYTES_PER_SECOND.get(device, 4e9)
    deepest = frozen[-1].flops

    def seconds(cut: Cut) -> float:
        return (deepest - cut.flops) / flops + cut.bytes / bandwidth

    paying = [cut for cut in frozen if seconds(cut) < deepest / flops]
    if not paying:
        return Choice(None, "reading would cost more than computing")
    fitting = [cut for cut in paying if cut.bytes * samples <= max_bytes]
    if not fitting:
        need = min(cut.bytes for cut in paying) * samples
        return Choice(None, f"needs {format_bytes(need)}, cache.max_gb allows {format_bytes(max_bytes)}")
    best = min(reversed(fitting), key=seconds)  # of equals the deepest
    return Choice(best, f"at {best.name}, {format_bytes(best.bytes * samples)}")
