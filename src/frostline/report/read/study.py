"""A hyper-parameter study as its report sees it: read from study.json and from the final run's record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.config.secrets import mask_value
from frostline.errors import UserError
from frostline.report.read.runs import RunReader, RunSummary, as_object, read_number, read_numbers, resolve_place
from frostline.results.indexes import load_study
from frostline.tasks.declarations import METRICS, Metric

STUDY = "study.json"
FORMAT = 1
UNFINISHED = ("running", "waiting")


@dataclass(frozen=True)
class Trial:
    """One trial; ``value`` is its best validation score, of a pruned one the best until it was stopped."""

    number: int
    status: str
    reason: str
    value: float | None
    point: Mapping[str, Any]
    overrides: Sequence[str]
    seconds: float | None
    epochs: int | None
    same_as: int | None
    id: str
    folder: Path | None

    @property
    def settings(self) -> str:
        """Its point of the space, as a person would type it."""
        return " ".join(self.overrides)


@dataclass(frozen=True)
class Study:
    """A study: ``content`` is its file, ``final`` the run of the best point that was tested."""

    content: Mapping[str, Any]
    trials: Sequence[Trial]
    final: RunSummary | None

    @property
    def metric(self) -> str:
        """The metric of validation that was searched."""
        return str(self.content["monitor"])

    @property
    def name(self) -> str:
        """The metric as a person says it."""
        return METRICS.get(self.metric, Metric(self.metric)).title

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return -1 if self.content.get("direction") == "minimize" else 1

    @property
    def best(self) -> Trial | None:
        """The trial with the best value, of equals the first."""
        scored = [one for one in self.with_status("done") if one.value is not None]
        return max(scored, key=lambda one: (self.sign * (one.value or 0.0), -one.number), default=None)

    @property
    def failed(self) -> list[Trial]:
        """Trials that have ended without a value."""
        return [one for one in self.trials if one.status not in ("done", "pruned", *UNFINISHED)]

    @property
    def space(self) -> list[dict[str, Any]]:
        """The searched keys."""
        return [as_object(one) for one in self.content["space"]]

    @property
    def shares(self) -> dict[str, float]:
        """How much of the spread of values each key explains, the largest first; empty where that is not known."""
        found = read_numbers(as_object(self.content.get("importances")).get("shares"))
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def with_status(self, status: str) -> list[Trial]:
        """Return the trials that stand so."""
        return [one for one in self.trials if one.status == status]


def read_study(folder: Path) -> Study:
    """Return the study in ``folder``. Raises UserError where it cannot be read."""
    path = folder / STUDY
    try:
        content = mask_value(load_study(path, FORMAT))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: this is no study ({error}); frostline tune writes it anew.") from error
    final = content.get("final")
    trials = [_trial(folder, row) for row in content["trials"]]
    return Study(content, trials, RunReader().run(resolve_place(folder, final["path"])) if final else None)


def _trial(folder: Path, row: Mapping[str, Any]) -> Trial:
    value = row["value"]
    if row["status"] == "pruned" and row["values"]:
        value = read_number(row["values"][-1][-1])
    return Trial(
        number=row["number"],
        status=row["status"],
        reason=row["reason"] or "",
        value=value,
        point=row["point"],
        overrides=row["overrides"],
        seconds=row["seconds"],
        epochs=row["epochs"],
        same_as=row["same_as"],
        id=row["id"] or "",
        folder=resolve_place(folder, row["path"]) if row["path"] else None,
    )
