"""The two-way bootstrap: how a difference may come out with other test samples and other seeds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from frostline.intervals import Interval
from frostline.report.read.answers import Answered, Answers
from frostline.report.statistics.estimates import share_errors, spread

FEWEST_FREEDOM = 2
"""Fewer degrees of freedom among the seeds leave their spread as good as unknown."""

CELLS = 1 << 22
"""Resamples x test samples held in memory at a time, 8 bytes each."""


@dataclass(frozen=True)
class Resampled:
    """A mean difference with its standard error over test samples and seeds, and the seeds' part of that error."""

    mean: float
    error: float
    seeds_error: float
    freedom: float

    def interval(self, level: float = 0.95) -> Interval:
        """Return the normal interval, but with Student's quantile for the seeds' part of the variance.

        Percentiles would be too narrow: a few seeds, drawn again and again, stay within their own range. In simulations
        with 3 seeds or more this interval covered the truth at its level or a little above it, whichever part was
        larger. With two, Student's quantile would span everything; the normal one then covers too little where seeds
        matter most.
        """
        rest = (1 + level) / 2
        normal, student = float(stats.norm.ppf(rest)), float(stats.t.ppf(rest, self.freedom))
        reach = math.sqrt((normal * self.error) ** 2 + (student**2 - normal**2) * self.seeds_error**2)
        return Interval(self.mean - reach, self.mean + reach)


def moderate_seeds(found: Sequence[Resampled]) -> list[Resampled]:
    """Return the differences with the seeds' parts of their errors drawn together, as ``share_errors`` does."""
    known = [one for one in found if math.isfinite(one.freedom)]
    spreads = dict(zip(map(id, known), share_errors([(one.seeds_error, one.freedom) for one in known]), strict=True))
    return [_with_spread(one, *spreads[id(one)]) if id(one) in spreads else one for one in found]


def _with_spread(one: Resampled, seeds_error: float, freedom: float) -> Resampled:
    samples = max(0.0, one.error**2 - one.seeds_error**2)
    return Resampled(one.mean, math.sqrt(samples + seeds_error**2), seeds_error, freedom)


def bootstrap(
    first: Answered, second: Answered, metric: str, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return an interval of the mean paired difference in ``metric``, ``first`` less ``second``.

    Test samples and seeds are both drawn anew, within each block: it covers what another test set of the same
    kind and other seeds would give, on these blocks. With one seed in a block it knows the test set's chance only,
    with two little more.
    """
    return resample(first, second, metric, resamples, seed).interval(level)


def resample(first: Answered, second: Answered, metric: str, resamples: int = 2000, seed: int = 0) -> Resampled:
    """Return the mean paired difference over the keys that both have, and its errors.

    A resample draws the test samples of a block, the same for both strategies and all seeds, and n - 1 of its n
    seeds: drawing n would make their variance too small by (n - 1) / n (Rao & Wu 1988, JASA 83), which matters for
    two or three. Drawing both ways errs on the wide side (Owen 2007, Annals of Applied Statistics 1).
    """
    keys = sorted(first.keys() & second.keys())
    blocks = [[key for key in keys if key[0] == name] for name in dict.fromkeys(block for block, _ in keys)]
    random = np.random.default_rng(seed)
    total_R, observed = np.zeros(resamples), list[list[float]]()
    for block in blocks:
        pairs = [(first[key], second[key]) for key in block]
        observed.append([_measure_difference(pair, metric) for pair in pairs])
        total_R += _redraw(pairs, metric, resamples, random) / len(blocks)
    several = [values for values in observed if len(values) > 1]
    known = sum(len(values) - 1 for values in several) >= FEWEST_FREEDOM
    seeds_error, freedom = spread(several, len(blocks)) if known else (0.0, math.inf)
    mean = float(np.mean([np.mean(values) for values in observed]))
    return Resampled(mean, float(np.std(total_R, ddof=1)), seeds_error, freedom)


def _redraw(
    pairs: Sequence[tuple[Answers, Answers]], metric: str, resamples: int, random: np.random.Generator
) -> np.ndarray:
    """Return the mean difference of one block in each resample [R]; every pair has the same test samples."""
    labels_N = pairs[0][0].labels
    assert all(np.array_equal(one.labels, labels_N) for pair in pairs for one in pair)
    seeds = len(pairs)
    found = []
    for weights_RN in _draws(len(labels_N), resamples, random):
        each_SR = np.stack([_difference(pair, weights_RN, metric) for pair in pairs])
        drawn = max(1, seeds - 1)
        shares_RS = random.multinomial(drawn, np.full(seeds, 1 / seeds), size=len(weights_RN)) / drawn
        found.append((each_SR.T * shares_RS).sum(axis=1))
    return np.concatenate(found)


def _draws(samples: int, resamples: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield how often each of N samples is drawn in each resample, [R, N], a bounded number of resamples at a time."""
    most = max(1, CELLS // samples)
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        drawn_RN = random.integers(0, samples, (rows, samples)) + samples * np.arange(rows)[:, None]
        yield np.bincount(drawn_RN.ravel(), minlength=rows * samples).reshape(rows, samples).astype(float)


def _measure_difference(pair: tuple[Answers, Answers], metric: str) -> float:
    return float(_difference(pair, np.ones((1, len(pair[0].labels))), metric)[0])


def _difference(pair: tuple[Answers, Answers], weights_RN: np.ndarray, metric: str) -> np.ndarray:
    return pair[0].score(weights_RN, metric) - pair[1].score(weights_RN, metric)
