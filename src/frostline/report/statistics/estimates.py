"""Means over seeds and blocks, with Student's intervals: what other seeds would give on the same data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from frostline.intervals import Interval
from frostline.report.read.runs import RunKey

SAME = 1e-12
"""Values nearer than this differ by rounding alone."""


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


def moderate_errors(found: Sequence[Estimate]) -> list[Estimate]:
    """Return estimates whose errors are drawn together by ``share_errors``, those of unknown error as they are."""
    known = [one for one in found if one.freedom]
    drawn = iter(share_errors([(one.error, one.freedom) for one in known]))
    return [
        replace(one, **dict(zip(("error", "freedom"), next(drawn), strict=True))) if one.freedom else one
        for one in found
    ]


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return Student's t interval of the mean, or None for fewer than two values.

    Over seeds on one test set it covers what other seeds would give on that same test set, no more.
    """
    return estimate({("", place): value for place, value in enumerate(values)}).interval(level) if values else None


def estimate(values: Mapping[RunKey, float]) -> Estimate:
    """Return the mean over the blocks of the mean over seeds, of at least one value.

    The blocks are taken as they are: the error is that of other seeds in these blocks, and says nothing of other
    blocks. Each block has a variance of its own, and the degrees of freedom are Welch and Satterthwaite's, so one
    block gives the plain t interval. A block with a single seed leaves the error unknown.
    """
    blocks = group_by_block(values)
    mean = float(np.mean([np.mean(block) for block in blocks.values()]))
    if min(len(block) for block in blocks.values()) < 2:
        return Estimate(mean, math.nan, 0.0, len(values))
    return Estimate(mean, *spread(list(blocks.values()), len(blocks)), len(values))


def group_by_block(values: Mapping[RunKey, float]) -> dict[str, list[float]]:
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


def share_errors(spreads: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return standard errors, each with its degrees of freedom, drawn towards each other as far as they agree.

    A few seeds say little about the spread of one difference, but many differences say together what a spread is
    like here: each variance becomes a weighted mean of its own and the common one, with the degrees of freedom of
    both, at most those of all together (Smyth 2004, Stat Appl Genet Mol Biol 3: the moderate t). Where spreads
    differ by more than chance, little is drawn; and none is made smaller than its own, for strategies do differ
    (random weights vary more than pretrained ones), and in simulations of that the plain rule covered too little.
    Fewer than three are left as they are, and so is one that does not vary at all: it is of another kind.
    """
    varying = [place for place, (error, _) in enumerate(spreads) if error > SAME]
    if len(varying) < 3:
        return list(spreads)
    variances = np.array([spreads[place][0] ** 2 for place in varying])
    freedoms = np.array([spreads[place][1] for place in varying])
    prior, common = _prior(variances, freedoms)
    share = np.ones(len(varying)) if math.isinf(prior) else prior / (prior + freedoms)
    drawn = np.maximum(variances, share * common + (1 - share) * variances)
    freed = np.minimum(freedoms.sum(), prior + freedoms)
    found = list(spreads)
    for place, error, freedom in zip(varying, np.sqrt(drawn), freed, strict=True):
        found[place] = float(error), float(freedom)
    return found


def _prior(variances: np.ndarray, freedoms: np.ndarray) -> tuple[float, float]:
    """Return the degrees of freedom and the variance that all have in common, by the moments of their logs."""
    half = freedoms / 2
    logs = np.log(variances) - special.digamma(half) + np.log(half)
    beyond = float(np.var(logs, ddof=1) - np.mean(special.polygamma(1, half)))
    if beyond <= 0:  # they differ by no more than chance
        return math.inf, math.exp(float(np.mean(logs)))
    found: Any = optimize.brentq(lambda x: special.polygamma(1, x) - beyond, 1e-6, 1e8)
    prior = 2 * float(found)
    return prior, math.exp(float(np.mean(logs)) + float(special.digamma(prior / 2)) - math.log(prior / 2))
