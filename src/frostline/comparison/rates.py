"""Each strategy's own learning rate, chosen on validation with a seed that no run uses afterwards."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline.comparison.cells import Cell, CellFinding
from frostline.tasks.declarations import Metric

SOLVED = "its head is solved, so the learning rate plays no part in it"
RateTrial = tuple[float, Mapping[str, Any] | None]
"""A learning rate, and the record of its trial."""


@dataclass(frozen=True)
class ChosenRate(CellFinding):
    """The learning rate of a cell: at which ``edge`` of the grid it lies (low, high), or ``why`` none was tried."""

    lr: float
    edge: str | None = None
    extended: bool = False
    why: str | None = None


def choose_rate(cell: Cell, trials: Iterable[RateTrial], monitor: Metric, extended: bool = False) -> ChosenRate:
    """Choose the rate with the best validation ``monitor``, of equals the one with the least loss, then the lowest.

    A trial that diverged or failed is out; where all are, the cell keeps its own rate and says so.
    """
    trials = sorted(trials, key=lambda one: one[0])
    scored = [(rate, score) for rate, record in trials if (score := read_score(record, monitor)) is not None]
    if not scored:
        return ChosenRate(cell.label, cell.block, cell.lr, why="no trial came to an end", extended=extended)
    best = max(scored, key=lambda one: (one[1], -one[0]))[0]
    rates = [rate for rate, _ in trials]
    edge = None
    if len(rates) > 1:
        edge = "low" if best == rates[0] else "high" if best == rates[-1] else None
    return ChosenRate(cell.label, cell.block, best, edge, extended)


def read_score(record: Mapping[str, Any] | None, monitor: Metric) -> tuple[float, float] | None:
    """Return a finished run's validation score, larger is better, and its loss with the sign turned."""
    if record is None or record["status"] != "done":
        return None
    scores = record["metrics"]["val"]
    value, loss = scores.get(monitor.name), scores.get("loss")
    if value is None or not math.isfinite(value):
        return None
    return monitor.sign * value, (-loss if loss is not None else -math.inf)


def extend_grid(rates: Sequence[float], edge: str) -> float:
    """Return the next rate beyond an end of the grid, by the ratio of its last two there."""
    rates = sorted(rates)
    ratio = rates[1] / rates[0] if edge == "low" else rates[-1] / rates[-2]
    return float(f"{rates[0] / ratio if edge == 'low' else rates[-1] * ratio:.6g}")


def choose_epochs(cell: Cell, record: Mapping[str, Any] | None, seconds: float, phases: int) -> int:
    """Return the epochs that take about ``seconds`` by a pilot's record: its training, without the cache's filling.

    At least one for each phase, at most fifty times the pilot's; where the pilot has no result, the cell's own.
    """
    if record is None or record["status"] != "done":
        return cell.epochs
    spent = record["cost"]["seconds"] - record["cost"]["cache_seconds"]
    return max(phases, min(50 * cell.epochs, round(cell.epochs * seconds / spent)))
