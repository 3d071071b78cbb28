"""From where to where a value may lie, by the chance of the samples that it was measured on; how many it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``, both in the interval."""

    low: float
    high: float

    def within(self, bounds: tuple[float, float]) -> "Interval":
        """Return the part of the interval that lies between two bounds, beyond which there are no values.

        A mean cannot lie beyond them either, so the part covers it exactly when the whole interval does: the level of
        confidence stays.
        """
        low, high = bounds
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low))


def share_interval(count: int, total: int, level: float = 0.95) -> Interval:
    """Return the interval of a share, such as an accuracy, of which ``count`` of ``total`` samples speak.

    By its score (Wilson 1927, JASA 22): unlike the normal one it has a width where all samples are right, and never
    leaves 0 to 1. ``total`` is 1 or more.
    """
    quantile = normal_quantile(level)
    share, extra = count / total, quantile**2 / total
    centre = (share + extra / 2) / (1 + extra)
    reach = math.sqrt(extra * (share * (1 - share) + extra / 4)) / (1 + extra)
    return Interval(0.0 if count == 0 else centre - reach, 1.0 if count == total else centre + reach)


def paired_share_interval(first: Sequence[bool], second: Sequence[bool], level: float = 0.95) -> Interval:
    """Return the interval of the share of ``first`` less that of ``second``, of the same samples [N] in one order.

    Method 10 of Newcombe 1998 (Statistics in Medicine 17, 2635): the two shares' own intervals, less what they have
    in common because they are of the same samples. It has a width even where no sample tells the two apart.
    """
    first_N, second_N = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    assert len(first_N) == len(second_N) > 0
    total = len(first_N)
    shares = float(first_N.mean()), float(second_N.mean())
    one, other = (share_interval(int(each.sum()), total, level) for each in (first_N, second_N))
    common = _correlation(first_N, second_N)
    below = _joined(shares[0] - one.low, other.high - shares[1], common)
    above = _joined(one.high - shares[0], shares[1] - other.low, common)
    difference = shares[0] - shares[1]
    return Interval(difference - below, difference + above)


def paired_mean_interval(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return Student's interval of the mean of ``first`` less ``second``, numbers of the same samples [N].

    None where it is not known: of fewer than two samples, or where all differ by the same.
    """
    from scipy import stats

    differences_N = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    total = len(differences_N)
    if total < 2 or np.ptp(differences_N) == 0:
        return None
    mean, error = float(differences_N.mean()), float(differences_N.std(ddof=1)) / math.sqrt(total)
    reach = float(stats.t.ppf((1 + level) / 2, total - 1)) * error
    return Interval(mean - reach, mean + reach)


def count_samples_needed(difference: float, share: float, level: float = 0.95, power: float = 0.8) -> int:
    """Return how many samples, answered by both of two candidates, show a ``difference`` of their accuracies.

    ``share`` is that of the samples which only one of them answers right. A two-sided test at ``level`` (McNemar's)
    then finds the difference with the probability ``power``: Connor 1987 (Biometrics 43, 207), without correction for
    continuity. Raises ValueError unless 0 < difference <= share <= 1: there is no larger difference than that share.
    """
    if not 0 < difference <= share <= 1:
        raise ValueError(f"a difference of {difference} where the share {share} of samples is answered differently")
    chance, found = normal_quantile(level), NormalDist().inv_cdf(power)
    root = chance * math.sqrt(share) + found * math.sqrt(share - difference**2)
    return math.ceil((root / difference) ** 2)


def find_least_difference(samples: int, share: float, level: float = 0.95, power: float = 0.8) -> float | None:
    """Return the least difference for which `count_samples_needed` asks for no more than so many samples.

    None where even one that is as large as ``share`` takes more. ``samples`` is 1 or more.
    """
    if count_samples_needed(share, share, level, power) > samples:
        return None
    low, high = 0.0, share
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if count_samples_needed(middle, share, level, power) <= samples else (middle, high)
    return high


def normal_quantile(level: float) -> float:
    """Return how many standard errors an interval of this level reaches to either side."""
    return NormalDist().inv_cdf((1 + level) / 2)


def _correlation(first_N: np.ndarray, second_N: np.ndarray) -> float:
    """Return the correlation of two columns of 0 and 1, drawn towards 0 where it is positive: 0 if one is constant."""
    total = len(first_N)
    both, neither = int((first_N & second_N).sum()), int((~first_N & ~second_N).sum())
    only_first, only_second = int((first_N & ~second_N).sum()), int((~first_N & second_N).sum())
    ones = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if ones == 0:
        return 0.0
    excess = both * neither - only_first * only_second
    return (max(excess - total / 2, 0.0) if excess > 0 else excess) / math.sqrt(ones)


def _joined(one: float, other: float, common: float) -> float:
    return math.sqrt(max(one**2 - 2 * common * one * other + other**2, 0.0))
