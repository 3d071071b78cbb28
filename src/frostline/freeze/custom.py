"""Reading what users write in a freeze config: numbers, globs over groups, and phases written by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from frostline.errors import UserError, make_choice_error
from frostline.freeze.plan import ALL, HEAD, INPUT_ADAPTER, Change, Train, share_epochs

FROZEN = "frozen"


@dataclass(frozen=True)
class WrittenPhase:
    """A phase as written by hand: of ``epochs`` epochs, or of a ``share`` of those that no phase claims."""

    name: str
    train: Mapping[str, Train]
    epochs: int | None
    share: float


def check_positive(key: str, value: object, high: float | None = None) -> float:
    """Return ``value`` as a float above 0 and at most ``high``; raises UserError naming ``key``."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0
    if not good or (high is not None and value > high):  # type: ignore[operator]
        most = "" if high is None else f" and at most {high:g}"
        raise UserError(f"{key}: {value!r} is invalid: expected a number above 0{most}.")
    return float(value)  # type: ignore[arg-type]


def match_names(key: str, pattern: str, names: Sequence[str]) -> list[str]:
    """Return the names that the glob ``pattern`` matches; raises UserError with all names when there is none."""
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        raise UserError(f"{key}: {pattern!r} matches nothing; choose from: {', '.join(names)}.")
    return found


def read_written_phase(key: str, index: int, phase: object, groups: Sequence[str]) -> WrittenPhase:
    """Return one phase of ``freeze.phases``; raises UserError naming ``key`` and what is wrong in it."""
    if not isinstance(phase, Mapping):
        raise UserError(
            f"{key}: {phase!r} is invalid: expected a mapping with train and, if wanted, name and epochs or share."
        )
    check_keys(key, phase, ("name", "epochs", "share", "train"))
    if "epochs" in phase and "share" in phase:
        raise UserError(f"{key}: epochs and share are both given; keep one of them.")
    epochs = phase.get("epochs")
    if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
        raise UserError(f"{key}.epochs: {epochs!r} is invalid: expected a whole number of 1 or more.")
    name = str(phase.get("name") or f"phase{index + 1}")
    train = read_train(f"{key}.train", phase.get("train"), groups)
    return WrittenPhase(name, train, epochs, check_positive(f"{key}.share", phase.get("share", 1)))


def read_change(key: str, change: object) -> Change:
    """Return one of ``freeze.changes``; raises UserError naming ``key`` and what is wrong in it."""
    if not isinstance(change, Mapping) or not isinstance(change.get("kind"), str):
        raise UserError(f"{key}: {change!r} is invalid: expected a mapping with a kind and, if wanted, its options.")
    check_keys(key, change, ("kind", "options"))
    if change["kind"] == INPUT_ADAPTER:
        raise UserError(f"{key}: {INPUT_ADAPTER} is invalid here: choose an adapter as adapter=NAME.")
    options = change.get("options") or {}
    if not isinstance(options, Mapping):
        raise UserError(f"{key}.options: {options!r} is invalid: expected a mapping.")
    return Change(change["kind"], dict(options))


def check_keys(key: str, value: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Raise UserError for a key of ``value`` that is not among ``allowed``."""
    for unknown in value:
        if unknown not in allowed:
            raise make_choice_error(key, unknown, allowed)


def read_train(key: str, patterns: object, groups: Sequence[str]) -> dict[str, Train]:
    """Return what trains, by group; the first pattern that matches a group wins.

    Raises UserError for a pattern that matches nothing, or only what earlier ones took, and when nothing trains.
    """
    if not isinstance(patterns, Mapping) or not patterns:
        raise UserError(
            f"{key}: {patterns!r} is invalid: expected a mapping of group names, globs or 'head' to "
            "learning-rate scales."
        )
    taken: dict[str, Train | None] = {}
    for pattern, value in patterns.items():
        found = match_names(key, str(pattern), (*groups, HEAD))
        fresh = [name for name in found if name not in taken]
        if not fresh:
            raise UserError(f"{key}: {pattern!r} comes after patterns that match all it does; put it before them.")
        taken |= {name: read_rate(key, str(pattern), name, value) for name in fresh}
    train = {name: how for name, how in taken.items() if how is not None}
    if not train:
        raise UserError(f"{key}: nothing trains in this phase; give at least one group or the head a rate.")
    return train


def read_rate(key: str, pattern: str, name: str, value: object) -> Train | None:
    """Return how ``name`` trains, None where frozen; a head that a glob matches trains whole."""
    if value == FROZEN:
        return None
    if not isinstance(value, Mapping):
        return Train(check_positive(f"{key}.{pattern}", value))
    check_keys(f"{key}.{pattern}", value, ("lr", "kind"))
    kind = value.get("kind", ALL)  # whether the network has it is known later: see `find_rate_scales`
    if not isinstance(kind, str):
        raise UserError(f"{key}.{pattern}.kind: {kind!r} is invalid: expected a kind of parameter, such as {ALL}.")
    if pattern == HEAD and kind != ALL:
        raise UserError(f"{key}.head.kind: {kind!r} is not possible, the head trains whole; leave the kind out.")
    return Train(check_positive(f"{key}.{pattern}.lr", value.get("lr", 1.0)), ALL if name == HEAD else kind)


def fill_epochs(steps: Sequence[WrittenPhase], epochs: int) -> list[int]:
    """Return each phase's epochs where some phases say theirs; those that do not share the rest.

    Raises UserError, with both numbers, when they do not come to the run's ``epochs``.
    """
    said = sum(step.epochs for step in steps if step.epochs is not None)
    sharing = [step.share for step in steps if step.epochs is None]
    if epochs - said < len(sharing) or (not sharing and said != epochs):
        more = f" and {len(sharing)} more phases need at least 1 each" if sharing else ""
        raise UserError(
            f"freeze.phases: the phases' epochs sum to {said}{more}, but the run has epochs={epochs}; make them equal."
        )
    shared = iter(share_epochs(sharing, epochs - said) if sharing else ())
    return [next(shared) if step.epochs is None else step.epochs for step in steps]
