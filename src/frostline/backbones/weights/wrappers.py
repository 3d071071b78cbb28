"""Which of the tensors in a file are a network's: a training program wraps them in dictionaries and prefixes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frostline.backbones.weights.reading import KEY, KeyPath
from frostline.errors import UserError
from frostline.units import join_lines, join_names

DEEP = 6  # parts of a name that may be a prefix
NONE = "none"
# What older files of another layout can make of what reads them.
MISFITS = (KeyError, RuntimeError, ValueError, AttributeError, IndexError, AssertionError, TypeError)

Convert = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""What gives tensors of another layout the names and shapes of a network's."""


@dataclass(frozen=True)
class Reading:
    """One way to read a file: the dictionary that stands at ``place``, and in it the names that begin with ``prefix``.

    ``beside`` are the names of that dictionary that do not.
    """

    place: KeyPath
    prefix: str
    state: dict[str, Tensor]
    beside: list[str]

    def __str__(self) -> str:
        words = [".".join(self.place)] if self.place else []
        words += [f"{self.prefix!r} taken off"] if self.prefix else []
        return ", ".join(words) or "as it is"


@dataclass(frozen=True)
class Misfit:
    """What keeps tensors from being a network's."""

    missing: list[str]
    unexpected: list[str]
    shapes: list[str]

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    def __str__(self) -> str:
        text = f"missing: {join_names(self.missing) or NONE}; unexpected: {join_names(self.unexpected) or NONE}"
        return text + (f"; of another shape: {join_names(self.shapes)}" if self.shapes else "")


def find_misfit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], classifier: Sequence[str]) -> Misfit:
    """Return what keeps ``state`` from being ``expected``, but for modules named in ``classifier``."""
    given = {name: value for name, value in state.items() if name in expected or not belongs_to(name, classifier)}
    # torch itself starts this counter at 0 where a file is older than the counter
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in expected]
    shapes = [
        f"{name} {list(value.shape)} instead of {list(expected[name].shape)}"
        for name, value in given.items()
        if name in expected and value.shape != expected[name].shape
    ]
    return Misfit(missing, unexpected, shapes)


def belongs_to(name: str, modules: Sequence[str]) -> bool:
    """Return whether a tensor belongs to one of these modules."""
    return any(name.startswith(f"{module}.") for module in modules)


def list_readings(found: Mapping[KeyPath, Mapping[str, Any]], size: int) -> list[Reading]:
    """Return every way to read a file that could come to ``size`` tensors.

    A prefix is one that so many names share that the rest could be a network's: a third, for some layouts have fewer.
    """
    ways = []
    for place, entries in found.items():
        tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
        shared = Counter(prefix for name in tensors for prefix in _prefixes(name))
        for prefix in ["", *(prefix for prefix, count in shared.items() if 3 * count >= size)]:
            state = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
            beside = [name for name in tensors if not name.startswith(prefix)]
            ways.append(Reading(place, prefix, state, beside))
    return ways


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")[:-1]
    return [".".join(parts[: end + 1]) + "." for end in range(min(len(parts), DEEP))]


def choose_reading(
    path: str | Path,
    ways: Sequence[Reading],
    expected: Mapping[str, Tensor],
    classifier: Sequence[str],
    change: Convert,
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of the only reading that is a network's, and a note on it where there is one to make.

    Raises UserError where none is, with the misfit of the nearest, and where several are that differ.
    """
    tried = [(way, try_convert(way.state, change)) for way in ways]
    apart = [find_misfit(expected, state, classifier) for _, state in tried]
    fitting = [one for one, off in zip(tried, apart, strict=True) if not len(off)]
    if not fitting:
        raise _make_misfit_error(path, ways, apart)
    (way, state), *others = fitting
    if not all(_are_equal(state, other, expected) for _, other in others):
        names = "; ".join(str(one) for one, _ in fitting)
        raise UserError(
            f"{KEY}: {path} holds weights of this network more than once ({names}), and they differ; save the ones "
            "that are meant as a file of their own."
        )
    return state, _notes(path, way)


def try_convert(state: dict[str, Tensor], change: Convert) -> dict[str, Tensor]:
    """Return tensors as ``change`` makes them, or as they are where it can make nothing of them."""
    try:
        return change(dict(state))
    except MISFITS:
        return state  # another network's weights: what does not fit is said then


def _are_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor], names: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in names if name in one and name in other)


def _make_misfit_error(path: str | Path, ways: Sequence[Reading], apart: Sequence[Misfit]) -> UserError:
    nearest = min(range(len(ways)), key=lambda place: len(apart[place].missing) + len(apart[place].shapes))
    ways_tried = f" in any of {len(ways)} ways to read them ({join_lines(ways)}), of which {ways[nearest]!s} is nearest"
    return UserError(
        f"{KEY}: {path}: these are not this network's weights{ways_tried if len(ways) > 1 else ''} ({apart[nearest]}); "
        "give weights of this very network."
    )


def _notes(path: str | Path, way: Reading) -> list[str]:
    if not (way.place or way.prefix):
        return []
    beside = f"; left out what is beside: {join_names(way.beside)}" if way.beside else ""
    return [f"read {Path(path).name} as: {way}{beside}"]
