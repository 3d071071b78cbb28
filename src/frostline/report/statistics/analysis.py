"""The numbers behind a report, worked out once: scores, intervals, differences, ranks and the verdict."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from frostline.intervals import Interval
from frostline.report.read.answers import Answered
from frostline.report.read.axes import name_comparison_block
from frostline.report.read.comparison import Comparison
from frostline.report.read.predictions import read_all_answers
from frostline.report.read.runs import Block, RunSummary, name_machine
from frostline.report.statistics.differences import Difference, Scores, compare_with_reference, find_leader
from frostline.report.statistics.estimates import estimate
from frostline.report.statistics.ranking import AverageRanks, rank_labels
from frostline.report.statistics.verdict import Verdict, reach_verdict


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, or over the blocks of that; ``values`` are of single runs.

    ``interval`` is at 95% and ends where the values do; None where there are too few seeds.
    """

    values: Sequence[float]
    mean: float
    interval: Interval | None

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def width(self) -> float | None:
        """The interval's width, by which intervals are sorted."""
        return None if self.interval is None else self.interval.high - self.interval.low


class Analysis:
    """A comparison with its statistics. Where a block is asked for, None stands for all of them together.

    ``keys`` are the blocks' names, ``places`` what a sentence on one ends with; both are empty where there is one only.
    The mean over several blocks is that of the blocks' means; a strategy that lacks a block has none.
    """

    def __init__(self, comparison: Comparison):
        self.comparison = comparison
        self.metric = comparison.metric
        self.name = self.metric.title
        self.blocks = comparison.blocks
        self.keys = {block: name_comparison_block(block) if len(self.blocks) > 1 else "" for block in self.blocks}
        self.places = {block: f" on {key}" if key else "" for block, key in self.keys.items()}
        self.styles = {label: place for place, label in enumerate(comparison.labels)}
        self._cells: dict[tuple[str, Block], list[RunSummary]] = {}
        self.failures: list[RunSummary] = []
        for run in sorted(comparison.runs, key=lambda run: run.seed):
            if run.done and self.metric.name in run.scores:
                self._cells.setdefault((run.label, run.block), []).append(run)
            else:
                why = f"its record has no test {self.name}"
                self.failures.append(replace(run, status="failed", reason=why) if run.done else run)
        self.best = find_leader(self.scores, self.metric)
        self.labels = self._sort_labels()

    def _sort_labels(self) -> list[str]:
        """Return the labels with the best first, then those that lack blocks, those without a result last."""

        def place(label: str) -> tuple[bool, int, float]:
            means = [found.mean for block in self.blocks if (found := self.score(label, block))]
            return label != self.best, -len(means), (fmean(means) if means else 0.0) * -self.metric.sign

        return sorted(self.comparison.labels, key=place)

    def cell(self, label: str, block: Block | None) -> list[RunSummary]:
        """Return the finished runs of a label, by seed."""
        blocks = self.blocks if block is None else [block]
        return [run for one in blocks for run in self._cells.get((label, one), [])]

    def score(self, label: str, block: Block | None, metric: str | None = None) -> Mean | None:
        """Return the mean of a test score, the selected one or another; None where there is none."""
        one = self.metric if metric is None else self.comparison.declaration.metric(metric)
        runs = [run for run in self.cell(label, block) if one.name in run.scores]
        return self._mean(block, [(run, run.scores[one.name]) for run in runs], one.bounds)

    def cost(self, label: str, name: str, block: Block | None = None) -> Mean | None:
        """Return the mean of a cost, None where no run knows it."""
        runs = [run for run in self.cell(label, block) if name in run.costs]
        return self._mean(block, [(run, run.costs[name]) for run in runs], (0.0, math.inf))

    def _mean(
        self, block: Block | None, values: Sequence[tuple[RunSummary, float]], bounds: tuple[float, float]
    ) -> Mean | None:
        if len({run.block for run, _ in values}) < (len(self.blocks) if block is None else 1):
            return None
        found = estimate({(self.keys[run.block], run.seed): value for run, value in values})
        interval = found.interval()
        return Mean([value for _, value in values], found.mean, interval and interval.within(bounds))

    @cached_property
    def finished(self) -> list[str]:
        """The labels with a result in every block, the best first: those that can be ranked."""
        return [label for label in self.labels if all(self.cell(label, block) for block in self.blocks)]

    @cached_property
    def scores(self) -> Scores:
        """Every test score by label and (block, seed)."""
        return {
            label: {(self.keys[run.block], run.seed): run.scores[self.metric.name] for run in runs}
            for label in self.comparison.labels
            if (runs := self.cell(label, None))
        }

    @cached_property
    def differences(self) -> list[Difference]:
        """Each label against the best; ``unresampled`` says why there is no bootstrap, if so."""
        if self.best is None:
            return []
        found = compare_with_reference(self.scores, self.best, self.metric, self._answers[0] or None)
        return sorted(found, key=lambda one: self.labels.index(one.label))

    @property
    def unresampled(self) -> str:
        """Why there is no bootstrap over test samples, in words; empty where there is one."""
        return self._answers[1]

    @cached_property
    def _answers(self) -> tuple[dict[str, Answered], str]:
        return read_all_answers(
            [run for label in self.labels for run in self.cell(label, None)], self.keys, self.metric
        )

    @cached_property
    def ranks(self) -> AverageRanks | None:
        """Average ranks over the blocks, of the labels that have a result in each."""
        means = {
            self.keys[block]: {label: one.mean for label in self.finished if (one := self.score(label, block))}
            for block in self.blocks
        }
        return rank_labels(means, self.metric.lower_is_better)

    @cached_property
    def machines(self) -> list[str]:
        """What the finished runs were computed on, as far as their records say it; times compare on one alone."""
        return sorted({said for label in self.labels for run in self.cell(label, None) if (said := name_machine(run))})

    @cached_property
    def verdict(self) -> Verdict:
        """The answer in words; it says nothing of time where runs were measured on different machines."""
        spent = {label: one.mean for label in self.labels if (one := self.cost(label, "seconds"))}
        spent = spent if len(self.machines) < 2 else {}
        failed = Counter(run.label for run in self.failures)
        return reach_verdict(self.scores, self.differences, self.ranks, spent, "seconds", self.metric, failed)

    def count_failed(self, block: Block | None) -> Counter[str]:
        """Return how many runs of each label have no result."""
        return Counter(run.label for run in self.failures if block in (None, run.block))

    def front(self, cost: str, block: Block | None = None) -> list[str]:
        """Return the labels that no other beats in both score and cost: the Pareto front, the cheapest first."""
        points = [
            (spent.mean, -self.metric.sign * score.mean, label)
            for label in self.labels
            if (spent := self.cost(label, cost, block)) and (score := self.score(label, block))
        ]
        found: list[str] = []
        best = float("inf")
        for _, score, label in sorted(points):
            if score < best:
                best = score
                found.append(label)
        return found
