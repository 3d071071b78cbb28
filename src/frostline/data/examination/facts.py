"""What an examination of data tells: plain values, as JSON has them."""

from typing import TypedDict

DIFFERENCE = 0.01
"""The difference of two accuracies that a person would care for: one point."""


class Named(TypedDict):
    """How many samples there are of a kind, and the names of a few."""

    count: int
    names: list[str]


class Classes(TypedDict):
    """How many samples of each class the splits have.

    ``largest`` and ``smallest`` are those of train, with their samples; ``skew`` says how many times as large the
    largest is. ``few`` have too few samples in val to say anything of them; ``missing``, by split, have none.
    """

    counts: dict[str, dict[str, int]]
    largest: tuple[str, int]
    smallest: tuple[str, int]
    skew: float
    few: list[str]
    missing: dict[str, list[str]]


class Copies(TypedDict):
    """How many samples of a split have the same content as another one, and how many of these have another label.

    ``pairs`` are the names of a few: of the other one, and of the sample; those of another label come first.
    """

    samples: int
    relabelled: int
    pairs: list[tuple[str, str]]


class Extremes(TypedDict):
    """Samples that are far larger or smaller than those of train, by split; ``low`` and ``high`` are theirs.

    All of it is in a ``unit``; half of train is at most as large as ``median``.
    """

    unit: str
    median: float
    low: float
    high: float
    splits: dict[str, Named]


class Contents(TypedDict):
    """What was seen in the samples of a split that were decoded, ``looked_at`` of all: unusable ones, and blank ones.

    Their names stand with what is wrong.
    """

    looked_at: int
    unusable: Named
    blank: Named


class Needed(TypedDict):
    """How many validation samples show a difference of one point between two candidates.

    That depends on the ``share`` of samples that only one of the two answers right. ``least`` is the least difference
    that the validation samples which are there can show; None where that is more than ``share`` itself.
    """

    share: float
    samples: int
    least: float | None


class Failure(TypedDict):
    """What could not be looked at, and why."""

    part: str
    reason: str


class Examination(TypedDict):
    """All that was found. ``copies`` are by the splits that were compared, as in ``train/val``: val's, of train's.

    What there is nothing to say of, or what could not be looked at, is None or empty.
    """

    modality: str
    samples: dict[str, int]
    classes: Classes | None
    copies: dict[str, Copies]
    extremes: list[Extremes]
    contents: dict[str, Contents]
    needed: list[Needed]
    failed: list[Failure]
    seconds: float


def make_empty_examination() -> Examination:
    """Return an examination that found nothing."""
    return Examination(
        modality="sample",
        samples={},
        classes=None,
        copies={},
        extremes=[],
        contents={},
        needed=[],
        failed=[],
        seconds=0.0,
    )
