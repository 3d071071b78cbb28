"""The space of a study: what each key may be, and which keys there are at a point of it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override

from frostline.config.allow import is_below
from frostline.config.compose import expand_sweep, quote_override
from frostline.errors import UserError
from frostline.results.store import WHERE_NOT_WHAT

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float
Point = dict[str, Value]
"""A value for each key that there is; that of a choice is the text of its override."""

NUMBERS = {"float": (False, False), "log": (False, True), "int": (True, False), "int_log": (True, True)}
"""Kinds of ranges: whether of whole numbers, whether by their logarithm."""
SAID = "{log: [1e-5, 1e-2]}, or float, int, int_log in its place; or a list of choices"
RESERVED = ("null", "true", "false", "nan", "inf")
LARGEST = 10_000
FIXED = ("seed", "test", "monitor", "force", "judged", "tune", "compare", "hydra")
"""Keys that are no part of what a study searches."""


@dataclass(frozen=True)
class SearchedKey:
    """One searched key: its choices, or a range with both ends in it; ``when`` names the choices of earlier keys with
    which it is there at all."""

    key: str
    choices: Sequence[str] = ()
    low: float = 0
    high: float = 0
    whole: bool = False
    log: bool = False
    step: float | None = None
    when: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def is_there(self, point: Mapping[str, Value]) -> bool:
        """Return whether the key is there, by the values of the keys before it."""
        return all(str(point.get(key)) in texts for key, texts in self.when.items())

    def suggest(self, trial: "Trial") -> Value:
        """Ask for a value; a trial that was asked before says the same again."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def ends(self) -> Sequence[Value]:
        """Return each choice, or both ends of the range: where mistakes show."""
        return self.choices or [self._number(self.low), self._number(self.high)]

    def grid(self) -> Sequence[Value]:
        """Return every value. Raises UserError for a range without steps."""
        if self.choices:
            return self.choices
        if self.log or not (self.whole or self.step):
            raise UserError(f"tune.space: {self.key}: a grid takes choices, int, or a range with a step.")
        step = self.step or 1
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [self._number(self.low + place * step) for place in range(count)]

    def _number(self, value: float) -> Value:
        return int(value) if self.whole else float(f"{value:.12g}")

    def describe(self) -> str:
        """Return the key with what it may be, for a person."""
        among = ", ".join(self.choices) or f"{self.low:g} to {self.high:g}"
        how = f" by {self.step:g}" if self.step else ", logarithmic" if self.log else ""
        when = "".join(f", with {key}={' or '.join(texts)}" for key, texts in self.when.items())
        return f"{self.key}: {among}{how}{when}"

    def override(self, value: Value) -> str:
        """Return the override that sets the key; a number has six digits, as many as anyone would type."""
        return f"{self.key}={float(f'{value:.6g}') if isinstance(value, float) else value}"


@dataclass(frozen=True)
class Space:
    """All searched keys, in the order in which they are asked for."""

    parameters: Sequence[SearchedKey]

    def point(self, trial: "Trial") -> Point:
        """Ask for a value for each key that is there."""
        return self._walk(lambda parameter: parameter.suggest(trial))

    def _walk(self, value: Callable[[SearchedKey], Value]) -> Point:
        found: Point = {}
        for parameter in self.parameters:
            if parameter.is_there(found):
                found[parameter.key] = value(parameter)
        return found

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """Return a point as overrides."""
        return [one.override(point[one.key]) for one in self.parameters if one.key in point]

    def corners(self) -> list[Point]:
        """Return points in which together each choice and each end of a range occurs, every other key at its first."""
        found = []
        for parameter in self.parameters:
            for end in parameter.ends():
                pinned = {**self._find_needed(parameter), parameter.key: end}
                found.append(self._walk(lambda one, pinned=pinned: pinned.get(one.key, one.ends()[0])))
        return [one for place, one in enumerate(found) if one not in found[:place]]

    def _find_needed(self, parameter: SearchedKey) -> Point:
        """Return values of earlier keys with which a key is there."""
        found: Point = {}
        for key, texts in parameter.when.items():
            found |= self._find_needed(next(one for one in self.parameters if one.key == key)) | {key: texts[0]}
        return found

    def grid(self) -> list[Point]:
        """Return every point. Raises UserError for a range without steps."""
        points: list[Point] = [{}]
        for parameter in self.parameters:
            values = parameter.grid()
            points = [
                one
                for point in points
                for one in (
                    [point | {parameter.key: value} for value in values] if parameter.is_there(point) else [point]
                )
            ]
            if len(points) > LARGEST:
                raise UserError(f"tune.space: a grid of more than {LARGEST:,} points; leave something out.")
        return points

    def to_list(self) -> list[dict[str, Any]]:
        """Return plain containers for JSON."""
        return [asdict(one) for one in self.parameters]


def make_space(node: Any, swept: Iterable[Override], config_dir: Path | None) -> Space:
    """Return the space of tune.space and of overrides that sweep. Raises UserError that names the key."""
    if not isinstance(node or {}, Mapping):
        raise UserError(f"tune.space: {node!r} is invalid: expected keys, each with {SAID}.")
    named = [_parameter(str(key), spec) for key, spec in (node or {}).items()]
    found = [*named, *(_read_sweep(one, config_dir) for one in swept)]
    if not found:
        raise UserError(
            "tune.space: it is empty; give what to search, such as "
            "'tune.space={optimizer.lr: {log: [1e-5, 1e-2]}, freeze: [full, lp_ft]}'."
        )
    for place, one in enumerate(found):
        _check_key(one, found[:place])
    return Space(found)


def _check_key(one: SearchedKey, before: Sequence[SearchedKey]) -> None:
    """Raise UserError for a key that a run does not compute with, is given twice, or precedes one it needs."""
    where = f"tune.space: {one.key}"
    if any(is_below(one.key.lstrip("+"), no) for no in (*FIXED, *WHERE_NOT_WHAT)):
        raise UserError(f"{where}: it cannot be searched; it is no part of what a run computes, or a study's own.")
    earlier = {other.key: other for other in before}
    if one.key in earlier:
        raise UserError(f"{where}: it is searched twice; give it once.")
    for key, texts in one.when.items():
        if key not in earlier or not set(texts) <= set(earlier[key].choices):
            raise UserError(
                f"{where}.when: {key} is invalid: expected a key above it that has the choices {', '.join(texts)}."
            )


def _parameter(key: str, spec: Any) -> SearchedKey:
    """Return a key's entry of tune.space. Raises UserError for what is none."""
    where = f"tune.space: {key}"
    if isinstance(spec, list):
        spec = {"choices": spec}
    kinds = [kind for kind in ("choices", *NUMBERS) if isinstance(spec, Mapping) and kind in spec]
    if len(kinds) != 1 or set(spec) - {kinds[0], "when", "step"}:
        raise UserError(f"{where}: {spec!r} is invalid: expected {SAID}, and if need be step and when.")
    when = {str(name): [text(one) for one in _read_list(value)] for name, value in (spec.get("when") or {}).items()}
    values = _read_list(spec[kinds[0]])
    if kinds[0] == "choices":
        texts = [text(one) for one in values]
        if not texts or len(set(texts)) != len(texts):
            raise UserError(f"{where}: {values!r} is invalid: expected different choices, at least one.")
        return SearchedKey(key, texts, when=when)
    return _range(key, values, kinds[0], spec.get("step"), when)


def _range(key: str, ends: Sequence[Any], kind: str, step: Any, when: Mapping[str, Sequence[str]]) -> SearchedKey:
    whole, log = NUMBERS[kind]
    kinds = (int,) if whole else (int, float)
    fine = len(ends) == 2 and all(type(end) in kinds for end in ends) and ends[0] < ends[1]
    if not fine or (log and ends[0] <= 0):
        numbers = "whole numbers" if whole else "numbers"
        above = ", the first above 0" if log else ""
        raise UserError(f"tune.space: {key}.{kind}: {ends!r} is no range; give two {numbers} [LOW, HIGH]{above}.")
    if step is not None and (type(step) not in kinds or step <= 0 or log):
        raise UserError(f"tune.space: {key}.step: {step!r} is invalid: expected a step above 0, for float or int.")
    return SearchedKey(key, (), *ends, whole=whole, log=log, step=step, when=when)


def _read_sweep(one: Override, config_dir: Path | None) -> SearchedKey:
    """Return what an override that sweeps stands for: `freeze=full,lp_ft`, `optimizer.lr=tag(log,interval(a,b))`."""
    key, value = one.get_key_element(), one.value()
    if isinstance(value, IntervalSweep):
        ends = [value.start, value.end]
        whole = all(type(end) is int for end in ends)
        kind = ("int" if whole else "float") if "log" not in value.tags else "int_log" if whole else "log"
        return _range(key, ends, kind, None, {})
    return SearchedKey(key, [choice.partition("=")[2] for choice in expand_sweep(one, config_dir)])


def _read_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    """Return a choice as Hydra's grammar has it. Raises UserError for what is no single value."""
    if isinstance(value, list | Mapping):
        raise UserError(f"tune.space: {value!r} is no choice; give single values, and options as keys of their own.")
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, int | float) or re.fullmatch(r"[A-Za-z]\w*", value) and value.lower() not in RESERVED:
        return str(value)
    return quote_override(value)
