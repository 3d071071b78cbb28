"""Ranges of numbers, written in the annotation of what they hold for: ``k: Annotated[int, Range(ge=1)]``."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """The numbers between two bounds, which are in it (``ge``, ``le``) or not (``gt``, ``lt``); None: no such bound."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def holds(self, value: float) -> bool:
        """Return whether a number is in the range; NaN is in none."""
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        """The range in words that follow "a number"."""
        if self.ge is not None and self.le is not None:
            return f"from {self.ge:,} to {self.le:,}"
        bounds = (
            ("of {:,} or more", self.ge),
            ("above {:,}", self.gt),
            ("of at most {:,}" if self.gt is None else "at most {:,}", self.le),
            ("below {:,}", self.lt),
        )
        return " and ".join(words.format(bound) for words, bound in bounds if bound is not None)


# What several keys take. A constructor names one of these types, and so does `early.EARLY`.
Seed = Annotated[int, Range(ge=0, lt=2**32)]
Count = Annotated[int, Range(ge=1, le=1_000_000)]
AtLeastOne = Annotated[int, Range(ge=1)]
Side = Annotated[int, Range(ge=1, le=10_000)]
Processes = Annotated[int, Range(ge=1, le=10_000)]
Loaders = Annotated[int, Range(ge=0, le=1_000)]
Restarts = Annotated[int, Range(ge=0, le=10_000)]
Share = Annotated[float, Range(gt=0, le=1)]
Gigabytes = Annotated[float, Range(ge=0)]
LearningRate = Annotated[float, Range(gt=0)]
Seconds = Annotated[float, Range(gt=0, le=1_000_000_000)]
WholeSeconds = Annotated[float, Range(ge=1, le=1_000_000_000)]
Smoothing = Annotated[float, Range(ge=0, lt=1)]
