"""Means over seeds and blocks, with Student's intervals: what other seeds would give on the same data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Key = tuple[str, int]
"""(block, seed); the block is "" where there is one only."""

SAME = 1e-12
"""Values nearer than this differ by rounding alone."""


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error, and how many degrees of freedom that error has.

    With 0 degrees of freedom nothing is known of the error. ``n`` counts the values.
    """

    mean: float
    error: float
    freedom: float
    n: int

    def interval(self, level: float = 0.95) -> Interval | None:
        """Return Student's interval, or None where the error is not known."""
        if not self.freedom:
            return None
        reach = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error
        return Interval(self.mean - reach, self.mean + reach)

    def p(self) -> float:
        """Return the two-sided p-value of a mean of 0; needs an error above 0."""
        return 2 * float(stats.t.sf(abs(self.mean / self.error), self.freedom))


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return Student's t interval of the mean, or None for fewer than two values.

    Over seeds on one test set it covers what other seeds would give on that same test set, no more.
    """
    return estimate({("", place): value for place, value in enumerate(values)}).interval(level) if values else None


def estimate(values: Mapping[Key, float]) -> Estimate:
    """Return the mean over the blocks of the mean over seeds, of at least one value.

    The blocks are taken as they are: the error is that of other seeds in these blocks, and says nothing of other
    blocks. Each block has a variance of its own, and the degrees of freedom are Welch and Satterthwaite's, so one
    block gives the plain t interval. A block with a single seed leaves the error unknown.
    """
    blocks = by_block(values)
    mean = float(np.mean([np.mean(block) for block in blocks.values()]))
    if min(len(block) for block in blocks.values()) < 2:
        return Estimate(mean, math.nan, 0.0, len(values))
    return Estimate(mean, *spread(list(blocks.values()), len(blocks)), len(values))


def by_block(values: Mapping[Key, float]) -> dict[str, list[float]]:
    """Return each block's values, by seed."""
    blocks: dict[str, list[float]] = {}
    for block, seed in sorted(values):
        blocks.setdefault(block, []).append(values[block, seed])
    return blocks


def spread(blocks: Sequence[Sequence[float]], count: int) -> tuple[float, float]:
    """Return the standard error of a mean over ``count`` block means, and its degrees of freedom.

    ``blocks`` are those of the ``count`` blocks that have two values or more. See Satterthwaite 1946, Biometrics 2.
    """
    parts = [0.0 if np.ptp(block) < SAME else float(np.var(block, ddof=1)) / len(block) for block in blocks]
    freedoms = [len(block) - 1 for block in blocks]
    if not any(parts):
        return 0.0, float(sum(freedoms))
    squares = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    return math.sqrt(sum(parts)) / count, sum(parts) ** 2 / squares
