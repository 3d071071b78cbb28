"""Measure a depth profile: one pass over train and val, then each tap read by a solved probe, neighbours and scores."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from frostline.backbones.taps import Tap, choose_taps, find_taps
from frostline.config.schema import Run
from frostline.config.secrets import resolve_env
from frostline.errors import UserError
from frostline.heads import Taps
from frostline.intervals import Interval
from frostline.profiles.agreement import correlate_ranks
from frostline.profiles.classes import part_classes
from frostline.profiles.h_score import score_h
from frostline.profiles.logme import score_logme
from frostline.profiles.neighbours import Neighbours, ask_neighbours
from frostline.profiles.nleep import score_nleep
from frostline.profiles.record import FORMAT, SCORES
from frostline.profiles.score import Score
from frostline.profiles.survey import check_task, count_samples, describe_taps, name_data
from frostline.results.record import read_versions
from frostline.runs.build import Builder, Ingredients, check
from frostline.runs.setup import make_cache
from frostline.runs.trainer import make_lone_trainer
from frostline.solving.rows import make_rows
from frostline.solving.threads import share_threads
from frostline.tasks.base import Task
from frostline.tasks.judge import Judge, Judged
from frostline.training.leave_out import Samples
from frostline.training.phases import solve_splits

NEIGHBOURS = 10
UNIONS = ("all", "late")
VIEW = 0  # of the training samples
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Score]] = dict(
    zip(SCORES, (score_logme, score_h, score_nleep), strict=True)
)
Sides = Mapping[str, Tensor]
"""Features of train [N, D] and of val [M, D]."""


def measure_profile(plain: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the profile of a resolved config, of the shape `frostline.profiles.record.SHAPE` but for ``id``,
    ``command`` and ``config``, which are the caller's.

    The test split is not looked at. Raises UserError for a mistake, for a task without a solver, and where the cache
    cannot be written.
    """
    config = Run.read(resolve_env(plain))
    check(config)
    made = Builder(given).build(config)
    check_task(made.task)
    made.data.prepare_only(("train", "val"))
    return Depths(config, made).profile()


@dataclass
class Depths:
    """The taps of a network, stored for train and val, and what is read of them."""

    config: Run
    made: Ingredients
    seconds: dict[str, float] = field(default_factory=dict)

    def profile(self) -> dict[str, Any]:
        """Return the whole profile."""
        made, judge = self.made, self.judge
        assert self.stored, "one pass, with all of torch's threads"
        with share_threads() as (threads, pool):  # each depth is many short operations
            depths = list(pool.map(self.read_depth, self.taps))
            with timing(self.seconds, "joined"):
                unions = [choose_taps(self.taps, name) for name in UNIONS if len(self.taps) > 1]
                answers = list(pool.map(self.answer_joined, unions))
        for depth in depths:
            for name, seconds in depth.seconds.items():
                self.seconds[name] = self.seconds.get(name, 0.0) + seconds / min(threads, len(depths))
        probed, near, rows = zip(*((depth.outputs, depth.near, depth.scores) for depth in depths), strict=True)
        judged = [None if outputs is None else judge.judge(outputs) for outputs in probed]
        best = find_best(judged, judge.metric.sign)
        joined = [
            self.describe_union(name, union, outputs, None if best is None else judged[best])
            for name, union, outputs in zip(UNIONS, unions, answers, strict=False)  # no union of a single tap
        ]
        readings = [self.describe_reading(one, None if best is None else judged[best]) for one in judged]
        nearest = find_best(near, judge.metric.sign)
        others = [self.describe_reading(one, None if nearest is None else near[nearest]) for one in near]
        known = describe_taps(self.taps, made.backbone)
        taps = [
            {**tap, "probe": probe, "neighbours": other, **row}
            for tap, probe, other, row in zip(known, readings, others, rows, strict=True)
        ]
        return {
            "format": FORMAT,
            "backbone": made.backbone.name,
            "data": name_data(self.config.data),
            "summary": made.data.summary,
            "metric": {key: getattr(judge.metric, key) for key in ("name", "title", "lower_is_better")},
            "samples": count_samples(made),
            "neighbours": NEIGHBOURS,
            "best": best,
            "taps": taps,
            "joined": joined,
            "classes": self.part_classes(probed),
            "agreement": measure_agreement(taps, judge.metric.sign),
            "seconds": self.seconds,
            "versions": read_versions(),
        }

    @cached_property
    def taps(self) -> list[Tap]:
        """All taps, in depth order."""
        return find_taps(self.made.backbone, self.made.data.typical)

    @cached_property
    def labels(self) -> dict[str, Tensor]:
        """The labels of train [N, ...] and val [M, ...]."""
        return {split: self.made.data.splits[split].labels for split in ("train", "val")}

    @cached_property
    def judge(self) -> Judge:
        """What judges outputs on validation."""
        return Judge(self.made.task, self.config.metric, self.labels["val"])

    @cached_property
    def stored(self) -> Mapping[str, Mapping[str, Any]]:
        """What is stored of train and val, by tap."""
        with timing(self.seconds, "reading"):
            return self.read_taps()

    def read_taps(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what is stored of train and val, by tap; one pass over each where the cache lacks any.

        What does not fit in the cache, or may not go there, is kept in memory.
        """
        node = self.config.cache
        need = sum(tap.bytes for tap in self.taps) * sum(count_samples(self.made).values())
        stored = node.enabled and need <= node.max_gb * 1e9
        cache = make_cache(self.config, self.made, make_lone_trainer(self.config.trainer), stored=stored)
        try:
            return {split: cache.collect_all(split, self.taps, [VIEW]) for split in ("train", "val")}
        except OSError as error:
            raise UserError(
                f"{self.config.outputs}/cache cannot be written ({error.strerror or error}); choose another outputs, "
                "or cache.enabled=false."
            ) from error

    def load_sides(self, taps: Sequence[Tap]) -> Sides:
        """Return the features of train and val at these taps, side by side."""
        return {
            split: torch.cat([found[tap.name].views[VIEW].load_rows().float() for tap in taps], dim=1)
            for split, found in self.stored.items()
        }

    def solve_probe(self, sides: Sides, taps: Sequence[Tap]) -> Tensor:
        """Return what a head over these taps, solved on train, answers for val [M, width]."""
        widths, task = [tap.width for tap in taps], self.made.task
        classes = task.width(self.made.data.classes)
        labels = [tap.label for tap in taps]
        head = Taps(sum(widths), classes, widths, frames=False, taps=labels, solver="lbfgs", dropout=0.0)
        splits = {split: Samples(make_rows(side), self.labels[split]) for split, side in sides.items()}
        solve_splits(head, task, splits, self.config.seed, labels)
        with torch.no_grad():
            return head(sides["val"])

    def ask_neighbours(self, sides: Sides) -> Tensor:
        """Return what the nearest training samples answer for val, as outputs of a head [M, width]."""
        task = self.made.task
        train = sides["train"], task.targets(self.labels["train"])
        found = ask_neighbours(train, sides["val"], NEIGHBOURS, classes=task.width(self.made.data.classes))
        return make_outputs(found, task)

    def read_depth(self, tap: Tap) -> "Depth":
        """Return what probe, neighbours and scores make of one tap."""
        sides, seconds = self.load_sides([tap]), dict[str, float]()
        fault = not is_finite(sides)
        with timing(seconds, "probes"):
            outputs = None if fault else self.solve_probe(sides, [tap])
        with timing(seconds, "neighbours"):
            near = None if fault else self.judge.judge(self.ask_neighbours(sides))
        targets, scores = self.made.task.targets(self.labels["train"]), {}
        for name, function in FUNCTIONS.items():
            with timing(seconds, name):
                scores[name] = asdict(function(sides["train"], targets))
        return Depth(outputs, near, scores, seconds)

    def answer_joined(self, taps: Sequence[Tap]) -> Tensor | None:
        """Return what a head over several taps answers for val [M, width], None where they are no finite numbers."""
        sides = self.load_sides(taps)
        return self.solve_probe(sides, taps) if is_finite(sides) else None

    def describe_union(
        self, name: str, taps: Sequence[Tap], outputs: Tensor | None, best: Judged | None
    ) -> dict[str, Any]:
        """Return what a head over several taps comes to."""
        reading = self.describe_reading(None if outputs is None else self.judge.judge(outputs), best)
        width = sum(tap.width for tap in taps)
        return {"name": name, "taps": [tap.label for tap in taps], "width": width, "probe": reading}

    def part_classes(self, probed: Sequence[Tensor | None]) -> list[dict[str, Any]]:
        """Return each class along the depths, of a task that has classes."""
        labels, names = self.labels["val"], self.made.data.classes
        outputs = [one for one in probed if one is not None]
        if not names or len(outputs) < len(probed) or self.made.task.solver not in ("multinomial", "one_vs_rest"):
            return []
        if labels.dim() == 1:
            right = [one.argmax(dim=1) == labels for one in outputs]
        else:
            cut = getattr(self.made.task, "cut", 0.0)
            right = [(one > cut) == (labels > 0) for one in outputs]
        kept = ("name", "n", "best", "near", "alike")
        return [
            {**{key: getattr(one, key) for key in kept}, "recalls": list(one.recalls)}
            for one in part_classes(right, labels, names)
        ]

    def describe_reading(self, judged: Judged | None, best: Judged | None) -> dict[str, Any]:
        """Return a reading as JSON has it; ``gap`` is the interval of how much better the best tap is."""
        if judged is None or judged.value is None:
            why = (
                "Some features are not finite." if judged is None else f"{self.judge.metric.title} is undefined there."
            )
            return {"value": None, "interval": None, "gap": None, "why": why}
        gap = None if best is None else self.judge.measure_gap(best, judged)
        return {"value": judged.value, "interval": spell(judged.interval), "gap": spell(gap), "why": None}


@dataclass(frozen=True)
class Depth:
    """What is read of one tap: the probe's outputs [M, width], neighbours and scores, and the seconds of each.

    ``outputs`` and ``near`` are None where some features are no finite numbers.
    """

    outputs: Tensor | None
    near: Judged | None
    scores: dict[str, dict[str, Any]]
    seconds: dict[str, float]


@contextmanager
def timing(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add what the block takes to ``seconds``, under its name."""
    started = time.monotonic()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.monotonic() - started


def is_finite(sides: Sides) -> bool:
    """Return whether all features are finite numbers."""
    return all(bool(side.isfinite().all()) for side in sides.values())


def make_outputs(near: Neighbours, task: Task) -> Tensor:
    """Return what neighbours answer as a head's outputs, so that each score of the task can be had of them.

    Shares of votes become logarithms of probabilities, towards chance by one vote, for no finite number of neighbours
    makes sure; the class that they chose is ahead of one with as many votes.
    """
    if task.solver == "ridge":
        return near.outputs
    votes = near.outputs * near.k
    if near.classes is None:
        return ((votes + 0.5) / (near.k + 1)).logit()
    logits = ((votes + 1 / votes.shape[1]) / (near.k + 1)).log()
    return logits.scatter_add(1, near.classes[:, None], torch.full((len(logits), 1), 1e-3))


def find_best(judged: Sequence[Judged | None], sign: int) -> int | None:
    """Return the first depth with the best score, None where none has any."""
    known = {depth: one.value for depth, one in enumerate(judged) if one is not None and one.value is not None}
    return max(known, key=lambda depth: (sign * known[depth], -depth), default=None)


def measure_agreement(taps: Sequence[Mapping[str, Any]], sign: int) -> dict[str, Any]:
    """Return how far each column orders the depths as the solved probe does."""

    def signed(one: Mapping[str, Any]) -> float | None:
        return None if one["value"] is None else sign * one["value"]

    probes = [signed(tap["probe"]) for tap in taps]
    columns = {"neighbours": [signed(tap["neighbours"]) for tap in taps]}
    columns |= {name: [tap[name]["value"] for tap in taps] for name in SCORES}
    found = {name: correlate_ranks(values, probes) for name, values in columns.items()}
    return {
        name: {"n": one.n, "tau": one.tau, "interval": spell(one.interval), "why": one.why}
        for name, one in found.items()
    }


def spell(interval: Interval | None) -> dict[str, float] | None:
    """Return an interval as JSON has it."""
    return None if interval is None else {"low": interval.low, "high": interval.high}
