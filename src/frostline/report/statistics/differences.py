"""What may be said about strategies from their test scores: intervals, paired differences, effects and ranks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from frostline.intervals import Interval
from frostline.report.read.answers import Answered
from frostline.report.read.runs import RunKey
from frostline.report.statistics.bootstrap import Resampled, moderate_seeds, resample
from frostline.report.statistics.estimates import SAME, Estimate, estimate, group_by_block, moderate_errors
from frostline.tasks.declarations import Metric

Scores = Mapping[str, Mapping[RunKey, float]]
"""label -> (block, seed) -> test score; a run without a result is left out."""

FEWEST_SEEDS = 5
"""Of one block, for a p-value; of several, as many degrees of freedom."""

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A label's score less the reference's, over the ``n`` keys that both have (as ``estimate`` has it).

    ``interval`` is Student's of the paired differences, ``p`` of their t-test (of three rivals or more moderate,
    see ``estimates.share_errors``), ``adjusted`` by Holm over all rivals,
    ``effect`` Hedges' g; all four speak of seeds, on these test samples. ``bootstrap`` adds the chance of the test
    samples themselves. ``apart``: the two are told apart, by both where there are both. ``why`` says why
    there is no p-value. With no key in common, ``n`` is 0 and the mean NaN.
    """

    label: str
    reference: str
    n: int
    mean: float
    interval: Interval | None
    p: float | None
    adjusted: float | None
    effect: float | None
    bootstrap: Interval | None
    apart: bool
    why: str | None


def find_leader(scores: Scores, metric: Metric) -> str | None:
    """Return the label with the best mean, among those with the most blocks and then the most runs; None without any.

    A mean without a block, perhaps the hard one, or without the seed that failed compares with nobody's. What is
    missing of one label changes the standing of no two others.
    """
    whole = {label: (len(group_by_block(found)), len(found)) for label, found in scores.items() if found}
    candidates = [label for label, count in whole.items() if count == max(whole.values())]
    return max(candidates, key=lambda label: metric.sign * estimate(scores[label]).mean, default=None)


def compare_with_reference(
    scores: Scores, reference: str, metric: Metric, predictions: Mapping[str, Answered] | None
) -> list[Difference]:
    """Return every other label's difference from the reference (``find_leader``), in the order of ``scores``.

    What may be built on it: with a chance of at least 0.95 the truly best strategy is the reference or among those
    not told apart from it, although the reference was picked by the same scores (multiple comparisons with the best,
    Hsu 1996). That no strategy is wrongly called worse than the reference has a smaller chance.
    """
    rivals = [label for label, found in scores.items() if label != reference and found]
    values = [_pair_scores(scores[label], scores[reference]) for label in rivals]
    none = Estimate(math.nan, math.nan, 0.0, 0)
    over_seeds = moderate_errors([estimate(one) if one else none for one in values])
    ps = [None if _why_not(one) else seeds.p() for one, seeds in zip(values, over_seeds, strict=True)]
    adjusted = holm([1.0 if p is None else p for p in ps])
    answers = predictions or {}
    drawn = [
        _resample_scores(one, metric.name, answers.get(label, {}), answers.get(reference, {}))
        for label, one in zip(rivals, values, strict=True)
    ]
    drawn_towards = iter(moderate_seeds([one for one in drawn if one is not None]))
    return [
        _difference(
            (label, reference),
            one,
            seeds,
            None if p is None else (p, corrected),
            None if both is None else next(drawn_towards),
            1 - (1 - LEVEL) / len(rivals),
            metric.difference_bounds,
        )
        for label, one, seeds, p, corrected, both in zip(rivals, values, over_seeds, ps, adjusted, drawn, strict=True)
    ]


def _pair_scores(first: Mapping[RunKey, float], second: Mapping[RunKey, float]) -> dict[RunKey, float]:
    return {key: first[key] - second[key] for key in first if key in second}


def _difference(
    names: tuple[str, str],
    values: Mapping[RunKey, float],
    seeds: Estimate,
    test: tuple[float, float] | None,
    both: Resampled | None,
    level: float,
    bounds: tuple[float, float],
) -> Difference:
    """Return one difference from its p-value and adjusted one, and the bootstrap with its ``level`` corrected too.

    Its intervals end at ``bounds``, beyond which no difference can lie.
    """
    interval = seeds.interval(LEVEL)
    p, adjusted = test or (None, None)
    beyond = both and _excludes_zero(both.interval(level))
    return Difference(
        *names,
        n=seeds.n,
        mean=seeds.mean,
        interval=interval and interval.within(bounds),
        p=p,
        adjusted=adjusted,
        effect=hedges_g(values),
        bootstrap=both and both.interval(LEVEL).within(bounds),
        apart=bool(beyond) if adjusted is None else adjusted < 1 - LEVEL and beyond is not False,
        why=_why_not(values),
    )


def _excludes_zero(interval: Interval) -> bool:
    return not interval.low <= 0 <= interval.high


def _resample_scores(
    values: Mapping[RunKey, float], metric: str, first: Answered, second: Answered
) -> Resampled | None:
    """Return the bootstrap over the keys of the differences, None where any lacks answers, or they the metric."""
    if not values or not values.keys() <= first.keys() & second.keys():
        return None
    if any(metric not in one.metrics for one in first.values()):
        return None
    return resample({key: first[key] for key in values}, {key: second[key] for key in values}, metric)


def _why_not(values: Mapping[RunKey, float]) -> str | None:
    """Return why a t-test of the differences would say nothing, or None."""
    if not values:
        return "The two have no finished run in common."
    blocks = group_by_block(values)
    pairs, fewest = len(values), FEWEST_SEEDS - 1 + len(blocks)
    if pairs < fewest:
        where = "" if len(blocks) == 1 else f" in {len(blocks)} blocks"
        return f"{pairs} paired {'run' if pairs == 1 else 'runs'}{where}: a p-value takes {fewest} or more."
    if min(len(seeds) for seeds in blocks.values()) < 2:
        return "A block has one seed only, which says nothing about chance: a p-value takes two or more in each."
    if not estimate(values).error:
        return "The difference is the same for every seed, so seeds say nothing about chance."
    return None


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the order given (Holm 1979, Scand J Statist 6)."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(np.argsort(ps, kind="stable")):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def hedges_g(values: Mapping[RunKey, float]) -> float | None:
    """Return the mean of paired differences in their standard deviations, without the bias of few pairs (Hedges 1981).

    The deviation is the one within blocks. None for fewer than 2 degrees of freedom, or where all differences are
    the same.
    """
    blocks = [block for block in group_by_block(values).values() if len(block) > 1]
    freedom = sum(len(block) - 1 for block in blocks)
    squares = sum((len(block) - 1) * float(np.var(block, ddof=1)) for block in blocks if np.ptp(block) >= SAME)
    if freedom < 2 or not squares:
        return None
    unbiased = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return unbiased * estimate(values).mean / math.sqrt(squares / freedom)
