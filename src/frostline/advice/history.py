"""What earlier advice in the same outputs folder came to: it orders candidates, and foretells what they take.

It is of other data and networks, and moves what is expected by no more than so much evidence does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from frostline.advice.foretell import UNTRIED
from frostline.advice.index import read
from frostline.results.indexes import ADVICE_FILE


@dataclass(frozen=True)
class History:
    """``ratios`` has, for each strategy, the logarithm of its last error over the frozen network's, of each advice that
    trained it to its end; ``paces`` are FLOPs per second of a worker; ``names`` are those of the advice drawn on."""

    ratios: Mapping[str, Sequence[float]] = field(default_factory=dict)
    paces: Sequence[float] = ()
    names: Sequence[str] = ()

    @property
    def pace(self) -> float | None:
        """The FLOPs per second of a worker, None where nothing is known."""
        return median(self.paces) if self.paces else None

    def foretell(self, strategy: str) -> tuple[float, float]:
        """Return mean and deviation of the logarithm of a strategy's error over the frozen network's.

        What is known before anything was seen weighs as much as one advice.
        """
        seen, (mean, spread) = self.ratios.get(strategy, ()), UNTRIED
        return (mean + math.fsum(seen)) / (1 + len(seen)), spread * math.sqrt((1 + 1 / (1 + len(seen))) / 2)


def read_history(folder: Path, name: str) -> History:
    """Return what all advice in a folder came to but the one called ``name``; what cannot be read is passed over."""
    ratios: dict[str, list[float]] = {}
    paces, names = [], []
    for path in sorted(folder.glob(f"*/{ADVICE_FILE}")):
        content = None if path.parent.name == name else read(path.parent)
        if content is None:
            continue
        found = list(list_ratios(content["trials"]))
        for strategy, ratio in found:
            ratios.setdefault(strategy, []).append(ratio)
        if content.get("pace"):
            paces.append(content["pace"])
        if found or content.get("pace"):
            names.append(content["name"])
    return History(ratios, paces, names)


def list_ratios(trials: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return each strategy that was trained to its end with the logarithm of its least error over the frozen one's."""
    ended = [row for row in trials if row["done"] >= row["epochs"] and row["error"] is not None]
    frozen = [row["error"] for row in ended if row["rate"] is None]
    best: dict[str, float] = {}
    for row in ended:
        if row["rate"] is not None:
            best[row["strategy"]] = min(best.get(row["strategy"], math.inf), row["error"])
    if not frozen or min(frozen) <= 0:
        return []
    return [(name, math.log(error / min(frozen))) for name, error in best.items() if error > 0]
