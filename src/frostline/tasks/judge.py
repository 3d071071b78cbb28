"""How good outputs are on the validation samples, with an interval, and how far one reading is behind another."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from frostline.intervals import Interval, paired_mean_interval, paired_share_interval, share_interval
from frostline.tasks.base import Task

GROUPS = 20
"""Of the jackknife: each leaves out one sample of so many."""


@dataclass(frozen=True)
class Judged:
    """A score on validation with its 95% interval, both None where they are not known.

    ``parts`` are what it is made of: of a score that is a mean each sample's own [M], of others the score without
    each of the groups of samples [G].
    """

    value: float | None
    interval: Interval | None
    parts: Tensor


class Judge:
    """Judges outputs on the same validation samples by one score of a task.

    An interval covers the chance of the validation samples: that others of their kind had been drawn. Of a share of
    samples it is Wilson's, of another mean Student's, of any other score that of the delete-a-group jackknife
    (Kott 2001, J. Official Statistics 17).
    """

    def __init__(self, task: Task, metric: str, labels: Tensor) -> None:
        self.task, self.labels = task, labels
        self.metric = task.declaration.metric(metric)
        self.is_mean = metric == task.running
        self.groups = min(GROUPS, len(labels)) if len(labels) > 1 else 0
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        self.groups_M = torch.empty_like(order)
        self.groups_M[order] = torch.arange(len(labels)) % max(self.groups, 1)

    def judge(self, outputs: Tensor) -> Judged:
        """Return the score of outputs [M, width], of all validation samples in their order."""
        if self.is_mean:
            pairs = zip(outputs.split(1), self.labels.split(1), strict=True)
            parts = torch.stack([self.task.hits(*pair).double() for pair in pairs])
            value = float(parts.mean())
        else:
            value = self._score(outputs, self.labels)
            kept = [self.groups_M != group for group in range(self.groups)]
            parts = torch.tensor([self._score(outputs[each], self.labels[each]) for each in kept]).double()
        if not math.isfinite(value):
            return Judged(None, None, parts)
        return Judged(value, self._find_interval(value, parts), parts)

    def measure_gap(self, best: Judged, other: Judged) -> Interval | None:
        """Return the interval of how much better ``best`` is than ``other``, of the same samples; None if unknown."""
        if best.value is None or other.value is None:
            return None
        sign = self.metric.sign
        if self.is_mean and is_right_or_wrong(best.parts) and is_right_or_wrong(other.parts):
            first, second = (one.parts > 0.5 for one in (best, other))
            found = paired_share_interval(first.tolist(), second.tolist())
        elif self.is_mean:
            found = paired_mean_interval(best.parts.tolist(), other.parts.tolist())
        else:
            found = jackknife(best.value - other.value, best.parts - other.parts)
        return None if found is None else Interval(*sorted((sign * found.low, sign * found.high)))

    def _score(self, outputs: Tensor, labels: Tensor) -> float:
        return self.task.scores(outputs, labels)[self.metric.name]

    def _find_interval(self, value: float, parts: Tensor) -> Interval | None:
        if self.is_mean and is_right_or_wrong(parts):
            return share_interval(int(parts.sum()), len(parts))
        if self.is_mean:
            found = paired_mean_interval(parts.tolist(), [0.0] * len(parts))
        else:
            found = jackknife(value, parts)
        return None if found is None else found.within(self.metric.bounds)


def is_right_or_wrong(parts_M: Tensor) -> bool:
    """Return whether each sample counts 0 or 1."""
    return bool(((parts_M == 0) | (parts_M == 1)).all())


def jackknife(value: float, parts_G: Tensor) -> Interval | None:
    """Return Student's interval of a score, of its values without each of the groups [G]; None where one is NaN."""
    from scipy import stats

    groups = len(parts_G)
    if groups < 2 or not bool(parts_G.isfinite().all()):
        return None
    error = math.sqrt((groups - 1) / groups * float((parts_G - parts_G.mean()).square().sum()))
    reach = float(stats.t.ppf(0.975, groups - 1)) * error
    return Interval(value - reach, value + reach)
