"""Which cut a phase is cached at, or why at none: a deterministic model of cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from frostline.backbones.cuts import Cut
from frostline.units import size

FLOPS_PER_SECOND = {"cpu": 2e10, "cuda": 1e13}
BYTES_PER_SECOND = {"cpu": 1e9, "cuda": 4e9}
"""Orders of magnitude, not measurements: a decision that hung on a timing could differ when a run is resumed."""


@dataclass(frozen=True)
class Choice:
    """The cut of a phase (None: run the frozen prefix every time) and the reason in a few words."""

    cut: Cut | None
    reason: str


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
        return Choice(None, f"needs {size(need)}, cache.max_gb allows {size(max_bytes)}")
    best = min(reversed(fitting), key=seconds)  # of equals the deepest
    return Choice(best, f"at {best.name}, {size(best.bytes * samples)}")
