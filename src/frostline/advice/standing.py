"""How a run in the race stands, read from its folder: its curve on validation, its best epoch, what it took."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frostline.files.csv_tables import read_csv
from frostline.intervals import Interval, normal_quantile, share_interval
from frostline.results.validation import Parts, read_parts
from frostline.tasks.declarations import Metric

FLOOR = 0.5
"""Of a sample: an error of none is said to be so many."""


class Standing(NamedTuple):
    """``done`` epochs, the best value so far and after each epoch that has a row, as values and as errors.

    ``parts`` of the best one; ``seconds`` of each row.
    """

    done: int
    values: Mapping[int, float]
    errors: Mapping[int, float]
    parts: np.ndarray
    is_mean: bool
    seconds: Mapping[int, float]

    @property
    def value(self) -> float | None:
        """The best value so far."""
        return self.values[max(self.values)] if self.values else None

    @property
    def error(self) -> float | None:
        """The best error so far."""
        return self.errors[max(self.errors)] if self.errors else None

    def find_interval(self, metric: Metric, level: float) -> Interval | None:
        """Return where the best value may lie by the chance of the validation samples; None where that is unknown."""
        parts_N, value = self.parts, self.value
        count = len(parts_N)
        if value is None or count < 2:
            return None
        if self.is_mean and set(np.unique(parts_N)) <= {0.0, 1.0}:
            return share_interval(int(parts_N.sum()), count, level)
        error = math.sqrt((count - 1) / count * float(((parts_N - parts_N.mean()) ** 2).sum()))
        error = float(parts_N.std(ddof=1)) / math.sqrt(count) if self.is_mean else error
        reach = normal_quantile(level) * error
        return Interval(value - reach, value + reach).within(metric.bounds)


def read_standing(folder: Path, metric: Metric, samples: int) -> Standing:
    """Return how the run in ``folder`` stands by a score on so many validation samples; nothing where it never ran."""
    values, errors, seconds, best = {}, {}, {}, None
    for row in read_rows(folder):
        try:
            epoch, value, took = int(row["epoch"]), float(row[f"val/{metric.name}"]), float(row["seconds"])
        except (KeyError, ValueError):
            continue
        seconds[epoch] = took
        if math.isfinite(value):
            best = value if best is None or metric.beats(value, best) else best
        if best is not None:
            values[epoch] = best
            errors[epoch] = measure_error(best, metric, samples)
    parts = read_parts(folder) or Parts(np.empty(0), True)
    return Standing(max(seconds, default=-1) + 1, values, errors, *parts, seconds)


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a run's metrics.csv, none where it cannot be read."""
    try:
        return list(read_csv(folder / "metrics.csv"))
    except (OSError, LookupError, ValueError):
        return []


def measure_error(value: float, metric: Metric, samples: int) -> float:
    """Return how far a score is from the best there could be: itself where lower is better, else what it lacks."""
    if metric.lower_is_better:
        return max(value, 1e-9)
    upper = metric.bounds[1]
    return max((upper if math.isfinite(upper) else 1.0) - value, FLOOR / max(samples, 1))


def measure_noise(one: Standing, other: Standing) -> float:
    """Return the standard error of the difference of two runs' scores on the same validation samples.

    Where a sample counts 0 or 1 one more sample is said to tell them apart: none at all would be certainty. Of a run
    without parts it is the error of the ``other`` score itself.
    """
    apart = other.parts - (one.parts if len(one.parts) == len(other.parts) else 0.0)
    count = len(apart)
    if count < 2:
        return 0.0
    if not other.is_mean:
        return math.sqrt((count - 1) / count * float(((apart - apart.mean()) ** 2).sum()))
    if len(one.parts) == count and set(np.unique(apart)) <= {-1.0, 0.0, 1.0}:
        return math.sqrt(float((apart != 0).sum()) + 1) / count
    return float(apart.std(ddof=1) / math.sqrt(count))
