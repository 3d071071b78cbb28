"""For each phase of a plan: at which cut it is cached, which views it sees, what stays as it is for later phases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, check_cut, find_cuts
from frostline.data.base import DataModule
from frostline.freeze.plan import Plan, find_rate_scales
from frostline.units import format_bytes

FLOPS_PER_SECOND = {"cpu": 2e10, "cuda": 1e13}
BYTES_PER_SECOND = {"cpu": 1e9, "cuda": 4e9}
"""Orders of magnitude, not measurements: a decision that depended on a timing could differ when a run is resumed."""


@dataclass(frozen=True)
class Choice:
    """The cut of a phase (None: run the frozen prefix every time) and the reason in a few words."""

    cut: Cut | None
    reason: str


class Need(NamedTuple):
    """An entry of the cache: a split, a cut, and a view of the split."""

    split: str
    cut: Cut
    view: int


class CachePolicy:
    """What is cached of each phase of a run, asked by the run itself and by the survey before it alike."""

    def __init__(self, plan: Plan, backbone: Backbone, data: DataModule, choices: Sequence[Choice]):
        self.plan, self.data = plan, data
        self.cuts = find_cuts(backbone, data.typical)
        self.choices = list(choices)
        self._trained = [set(find_rate_scales(phase, backbone.groups, backbone.kinds())) for phase in plan.phases]

    def cut(self, index: int) -> Cut | None:
        """Return the cut that a phase is cached at, None where it is not."""
        return self.choices[index].cut

    def has_features(self, index: int) -> bool:
        """Return whether a phase is cached at the end of the backbone."""
        cut = self.cut(index)
        return cut is not None and cut.name == self.cuts[-1].name

    def list_trained(self, index: int) -> set[str]:
        """Return the names of the backbone's parameters that train in a phase."""
        return self._trained[index]

    def list_views(self, index: int) -> list[int]:
        """Return the views of the training samples that a phase sees."""
        return list_views(self.plan, self.data, index)

    def find_kept_cut(self, index: int, start: int = 0) -> Cut | None:
        """Return a phase's cut if no phase from ``start`` up to it trains anything below that cut."""
        cut = self.cut(index)
        changed = set[str]().union(*self._trained[start:index])
        return cut if cut is not None and not cut.parameters & changed else None

    def list_later_cuts(self, index: int) -> list[Cut]:
        """Return the cuts of later phases whose prefixes stay as they are until then: one pass serves them all."""
        later = range(index + 1, len(self.plan.phases))
        return list({cut.name: cut for one in later if (cut := self.find_kept_cut(one, index)) is not None}.values())

    def list_needs(self, splits: Iterable[str]) -> list[Need]:
        """Return what a run will read from the cache that does not depend on what it has trained by then."""
        found: list[Need] = []
        for index in range(len(self.plan.phases)):
            cut = self.find_kept_cut(index)
            if cut is not None:
                for split in splits:
                    found += [Need(split, cut, view) for view in (self.list_views(index) if split == "train" else [0])]
        return found

    def give_up(self, index: int, reason: str) -> None:
        """Let a phase go on uncached, since its activations cannot be stored."""
        self.choices[index] = Choice(None, f"not cached: {reason}")

    def describe_phases(self) -> list[str]:
        """Return for each phase a few words on what is cached, or why not."""
        return [self._text(index) for index in range(len(self.choices))]

    def _text(self, index: int) -> str:
        choice = self.choices[index]
        if choice.cut is None:
            return choice.reason
        views, epochs = len(self.list_views(index)), self.plan.phases[index].epochs
        return f"{choice.reason}; {views} pass{'es' if views > 1 else ''} for {epochs} epoch{'s' if epochs > 1 else ''}"


def list_views(plan: Plan, data: DataModule, index: int) -> list[int]:
    """Return the views of the training samples that a phase sees."""
    start = plan.start(index)
    return sorted({data.view(epoch) for epoch in range(start, start + plan.phases[index].epochs)})


def decide_policy(
    plan: Plan, backbone: Backbone, data: DataModule, enabled: bool, max_bytes: float, device: str
) -> CachePolicy:
    """Return what to cache of each phase: a function of the config and of the data's sizes, of no timing.

    ``enabled`` and ``max_bytes`` are those of the config's node `cache`; ``device`` is the kind that the run trains on.
    A cut that does not give the network back to the bit is not used.
    """
    cuts = find_cuts(backbone, data.typical)
    places = range(len(plan.phases))
    if not enabled or data.views is None:
        why = "data.views is null: every epoch sees fresh views" if enabled else "cache.enabled is false"
        return CachePolicy(plan, backbone, data, [Choice(None, why) for _ in places])

    def choose(index: int) -> Choice:
        # a group that trains in part is in train mode as a whole (its dropout is live), so no cut may lie in it
        trainable = {name for group in plan.phases[index].train for name in backbone.groups.get(group, [])}
        sizes = {name: len(split) for name, split in data.splits.items()}
        samples = sizes["train"] * len(list_views(plan, data, index)) + sizes["val"] + sizes["test"]
        usable = list(cuts)
        while True:
            choice = choose_cut(usable, trainable, samples, max_bytes, device)
            if choice.cut is None or check_cut(backbone, choice.cut.name, data.typical):
                return choice
            usable.remove(choice.cut)

    return CachePolicy(plan, backbone, data, [choose(index) for index in places])


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
