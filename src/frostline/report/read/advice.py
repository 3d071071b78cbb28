"""An advice as its page sees it: read from advice.json, checked, and from the depth profile that this points to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from frostline.config.secrets import mask_value
from frostline.errors import UserError
from frostline.profiles.record import PROFILE, read_profile
from frostline.report.read.profiles import Profile
from frostline.report.read.runs import resolve_place
from frostline.results.indexes import ADVICE_FILE, load_advice
from frostline.tasks.declarations import METRICS, Metric

LONGEST_S = 1e9
"""Seconds that no advice has anything to do with."""


@dataclass(frozen=True)
class Unrun:
    """A candidate that was not begun: the ``seconds`` that it was foretold to take, how likely it was to win."""

    name: str
    seconds: float
    chance: float | None


@dataclass(frozen=True)
class Advice:
    """An advice: ``content`` is its file in ``folder``, ``profile`` its depth profile, or ``why`` there is none."""

    folder: Path
    content: Mapping[str, Any]
    profile: Profile | None = None
    why: str | None = None

    @cached_property
    def metric(self) -> Metric:
        """The validation metric by which candidates are compared."""
        name = self.content["metric"]
        known = METRICS.get(name)
        lower = self.content["lower_is_better"]
        return known if known is not None and known.lower_is_better == lower else Metric(name, lower_is_better=lower)

    @property
    def answer(self) -> Mapping[str, Any] | None:
        """What is known of the answer; None where nothing had a result."""
        return self.content["answer"]

    @property
    def level(self) -> float:
        """How sure its statements are."""
        return 0.9 if self.answer is None else self.answer["level"]

    @cached_property
    def racing(self) -> list[Mapping[str, Any]]:
        """How each candidate stands that was begun, by its run in the race, as they entered it."""
        found: dict[str, Mapping[str, Any]] = {}
        for one in self.content["trials"]:
            if one["name"] not in found or one["seed"] < found[one["name"]]["seed"]:
                found[one["name"]] = one
        return list(found.values())

    @cached_property
    def ranked(self) -> list[Mapping[str, Any]]:
        """Those with a score, the best first, of equals the one that took least."""
        known = [one for one in self.racing if one["value"] is not None]
        return sorted(known, key=lambda one: (-self.metric.sign * one["value"], one["seconds"]))

    @cached_property
    def open(self) -> dict[str, Mapping[str, Any]]:
        """Who might still win, by name: ``seconds`` to its end, and the ``chance``."""
        return {one["name"]: one for one in (self.answer or {}).get("open", ())}

    @cached_property
    def unrun(self) -> list[Unrun]:
        """The candidates that were not begun, those that take least first."""
        states = [row["state"]["racers"] for row in self.content["moves"] if row.get("state")]
        known = {one["name"]: one["start"] + one["epochs"] * one["seconds"] for one in (states[-1] if states else [])}
        known |= {name: one["seconds"] for name, one in self.open.items()}
        begun = {one["name"] for one in self.racing}
        found = [
            Unrun(name, seconds, self.open[name]["chance"] if name in self.open else None)
            for name, seconds in known.items()
            if name not in begun
        ]
        return sorted(found, key=lambda one: one.seconds)

    @property
    def facts(self) -> Sequence[Mapping[str, Any]]:
        """What was found out of each candidate before anything ran."""
        return (self.content["found"] or {"runs": ()})["runs"]

    @property
    def samples(self) -> Mapping[str, int]:
        """The samples of each split, as far as they are known."""
        return next((one["counts"] for one in self.facts if one.get("counts")), {})

    @property
    def summary(self) -> str:
        """The data, in a line; empty where nobody has looked at them."""
        return next((one["data"] for one in self.facts if one.get("data")), "").removeprefix("data: ")

    @property
    def reasons(self) -> list[str]:
        """Why candidates could not be in the race."""
        errors = (one.get("error") or one.get("broken") for one in self.facts)
        return list(dict.fromkeys(str(one) for one in errors if one))

    def find_trial(self, name: str) -> Mapping[str, Any] | None:
        """Return how a candidate stands, None where it was not begun."""
        return next((one for one in self.racing if one["name"] == name), None)

    def list_scores(self, name: str) -> list[float]:
        """Return the validation scores of all runs of a candidate."""
        found = [one["value"] for one in self.content["trials"] if one["name"] == name]
        return [value for value in found if value is not None]


def read_advice(folder: Path) -> Advice:
    """Return the advice in ``folder``. Raises UserError where there is none that can be read."""
    path = folder / ADVICE_FILE
    try:
        content = mask_value(load_advice(folder))
        check_numbers(content)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: this is no advice ({error}); frostline advise writes it anew.") from error
    if content["profile"] is None:
        return Advice(folder, content)
    place = resolve_place(folder, content["profile"])
    place = place.parent if place.name == PROFILE else place
    try:
        profile = read_profile(place)
    except UserError as error:
        return Advice(folder, content, why=str(error))
    return Advice(folder, content, profile, None if profile else f"{place}: the profile that was here is gone.")


def check_numbers(content: Mapping[str, Any]) -> None:
    """Raise ValueError for times that are none, and for a level that is no share."""
    answer = content["answer"] or {"level": 0.5, "prices": [], "open": []}
    states = [one for row in content["moves"] for one in (row.get("state") or {"racers": []})["racers"]]
    times = {
        "within": [content["within"]],
        "seconds": [content["seconds"]],
        "trials": [one["seconds"] for one in content["trials"]],
        "moves": [*(row["at"] for row in content["moves"]), *(one["seconds"] * one["epochs"] for one in states)],
        "answer": [one["seconds"] for name in ("prices", "open") for one in answer[name]],
    }
    for where, found in times.items():
        if bad := next((value for value in found if not 0 <= value <= LONGEST_S), None):
            raise ValueError(f"{where} has {bad:.3g}, which is no number of seconds")
    if not 0 < answer["level"] < 1:
        raise ValueError(f"answer.level is {answer['level']}, and not between 0 and 1")
    check_curves(content["trials"])


def check_curves(trials: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError for a curve that is not made of epochs with their values."""
    for one in trials:
        if any(len(pair) != 2 for pair in one["curve"]):
            raise ValueError(f"the curve of {one['name']} is not made of pairs")
