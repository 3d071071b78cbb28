"""Examine data before anything trains; what cannot be looked at is said, and costs nothing of the rest."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TypeVar

from frostline.data.base import DataModule
from frostline.data.examination.copies import find_copies, read_side
from frostline.data.examination.facts import (
    DIFFERENCE,
    Classes,
    Examination,
    Failure,
    Needed,
    make_empty_examination,
)
from frostline.data.examination.names import show_name
from frostline.data.examination.odd import find_extremes, look_at_contents
from frostline.data.loading import Split
from frostline.data.splits import SPLITS
from frostline.errors import UserError
from frostline.intervals import count_samples_needed, find_least_difference
from frostline.tasks.base import Task

log = logging.getLogger(__name__)
FEW = 5
"""Samples of a class in val: with fewer, one answer changes the class's accuracy by more than 20 points."""

SHARES = (0.05, 0.1, 0.2)
"""The shares of samples that only one of two candidates answers right, for which numbers of samples are given."""

T = TypeVar("T")


def examine(data: DataModule, task: Task, seconds: float, seed: int) -> Examination:
    """Return what data are like; of their contents as much is decoded as ``seconds`` allow, in an order by ``seed``.

    Of the test split sizes are counted. What is said of its content, copies and odd samples, is a warning for people
    alone: no decision may depend on it.
    """
    began, found = time.monotonic(), make_empty_examination()
    splits = data.splits

    def attempt(part: str, function: Callable[..., T], *arguments: object) -> T | None:
        try:
            return function(*arguments)
        except Exception as error:  # a data set of the user's own can raise anything
            log.debug("The %s of the data cannot be looked at.", part, exc_info=True)
            found["failed"].append(Failure(part=part, reason=explain(error)))
            return None

    found["modality"] = data.modality
    found["samples"] = {name: len(splits[name]) for name in SPLITS}
    found["classes"] = attempt("classes", count_classes, data.class_counts, task)
    sides = {name: side for name in SPLITS if (side := attempt("copies", read_side, name, splits[name])) is not None}
    for first, second in [("train", "train"), *combinations(SPLITS, 2)]:
        if first in sides and second in sides:
            copies = attempt("copies", find_copies, sides[first], sides[second])
            found["copies"] |= {} if copies is None else {f"{first}/{second}": copies}
    sizes = {name: each for name in SPLITS if (each := attempt("sizes", measure, splits[name])) is not None}
    for unit in sizes.get("train", {}):
        extremes = attempt("sizes", find_extremes, unit, sizes, splits)
        found["extremes"] += [] if extremes is None else [extremes]
    found["contents"] = attempt("contents", look_at_contents, splits, seconds, seed) or {}
    if task.strata([]) is not None:
        found["needed"] = [count_needed(share, len(splits["val"])) for share in SHARES]
    found["seconds"] = time.monotonic() - began
    return found


def measure(split: Split) -> Mapping[str, Sequence[float]]:
    """Return what a split measures; one of a user's own class may have nothing that does."""
    return split.measure()


def explain(error: Exception) -> str:
    """Return what an error says; one that is no user's mistake with its kind."""
    said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return show_name(said)


def count_classes(counts: Mapping[str, Mapping[str, int]], task: Task) -> Classes | None:
    """Return what there is to say of classes by their samples in each split; None for a task without classes."""
    if not counts.get("train") or task.is_sequence:  # whose classes are characters
        return None
    train, val = counts["train"], counts["val"]
    largest, smallest = max(train, key=lambda one: train[one]), min(train, key=lambda one: train[one])
    return Classes(
        counts={split: {show_name(one): count for one, count in counts[split].items()} for split in SPLITS},
        largest=(show_name(largest), train[largest]),
        smallest=(show_name(smallest), train[smallest]),
        skew=train[largest] / max(train[smallest], 1),
        few=[show_name(one) for one, count in val.items() if 0 < count < FEW],
        missing={
            split: [show_name(one) for one, count in counts[split].items() if not count] for split in ("val", "test")
        },
    )


def count_needed(share: float, samples: int) -> Needed:
    """Return how many validation samples show a difference of one point, and what ``samples`` show."""
    return Needed(
        share=share,
        samples=count_samples_needed(DIFFERENCE, share),
        least=find_least_difference(samples, share),
    )


def describe_failure(error: Exception) -> Examination:
    """Return an examination of data that could not even be opened."""
    return {**make_empty_examination(), "failed": [Failure(part="data", reason=explain(error))]}
