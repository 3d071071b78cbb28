"""study.json: what a study is made of and has found out so far, so that its report needs no Optuna."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.config.schema import Run
from frostline.config.secrets import without_credentials
from frostline.files.atomic import write_json
from frostline.results.indexes import load_study
from frostline.results.store import run_folder, run_id
from frostline.tuning.search import Search

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

FORMAT = 1
NAME = "study.json"
FEWEST = 4
"""Trials with a value, below which nothing is said of importances."""
STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


@dataclass
class StudyIndex:
    """A study's file; it is made from Optuna's storage, which alone is what a study goes on from.

    Of an earlier sitting's file it takes what Optuna does not know.
    """

    search: Search
    folder: Path
    content: dict[str, Any]

    @classmethod
    def open(cls, search: Search, folder: Path, command: str) -> "StudyIndex":
        """Return the index of a study that begins or goes on."""
        content = {
            "format": FORMAT,
            "design": search.digest(),
            "name": search.name,
            "command": without_credentials(command),
            "base": search.runs_base(),
            "monitor": search.config.metric,
            "direction": search.direction,
            "epochs": search.config.epochs,
            "space": search.space.to_list(),
            **{key: getattr(search.node, key) for key in ("sampler", "startup", "pruner", "min_epochs", "factor")},
            "wanted": search.trials,
            "seed": search.seed,
            "final_seed": search.config.seed,
            "wall_seconds": 0.0,
            "trials": [],
            "importances": None,
            "final": None,
        }
        before = None if search.config.force else read(folder)
        if before is not None and before.get("design") == content["design"]:
            kept = ("wall_seconds", "trials", "importances", "final")
            content |= {key: before[key] for key in kept if before.get(key) is not None}
        return cls(search, folder, content)

    def set(self, **found: Any) -> None:
        """Keep what was found out, on disk at once."""
        self.content |= found
        write_json(self.folder / NAME, self.content)

    def update(self, study: "optuna.Study") -> None:
        """Keep how each trial stands."""
        self.set(trials=[self._row(one) for one in study.get_trials(deepcopy=False)])

    def close(self, study: "optuna.Study") -> None:
        """Keep how each trial ended, and which keys mattered, unless an earlier sitting came to the same."""
        before = self.content["importances"] or {}
        self.update(study)
        scored = sum(row["value"] is not None for row in self.content["trials"])
        if before.get("trials") != scored:
            self.set(importances={"trials": scored, "shares": rate_importances(study)})

    def _row(self, trial: "FrozenTrial") -> dict[str, Any]:
        known = trial.user_attrs
        run = known.get("run")
        folder = run_folder(Path(self.search.config.outputs), run) if run else None
        return {
            "number": trial.number,
            "status": known.get("status", STATES[trial.state.name]),
            "reason": known.get("reason"),
            "value": trial.value if trial.state.name == "COMPLETE" else None,
            "values": sorted(trial.intermediate_values.items()),
            "point": trial.params,
            "overrides": known.get("overrides", []),
            "seconds": known.get("seconds"),
            "epochs": known.get("epochs", trial.last_step),
            "same_as": known.get("same_as"),
            "id": run,
            "path": os.path.relpath(folder, self.folder) if folder else None,
        }

    def find_best(self) -> Mapping[str, Any] | None:
        """Return the trial with the best value so far; None where none has any."""
        return find_best_trial(self.content)

    def set_final(self, config: Run) -> None:
        """Keep where the final run lies."""
        run = run_id(config)
        folder = run_folder(Path(config.outputs), run)
        self.set(final={"id": run, "path": os.path.relpath(folder, self.folder)})


def find_best_trial(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the trial of a study.json with the best value, of equals the first; None where none has any."""
    sign = 1 if content["direction"] == "minimize" else -1
    scored = [row for row in content["trials"] if row["value"] is not None]
    return min(scored, key=lambda row: (sign * row["value"], row["number"]), default=None)


def read(folder: Path) -> dict[str, Any] | None:
    """Return what is in a study's folder, or None where there is nothing that can be read."""
    try:
        return load_study(folder / NAME, FORMAT)
    except (OSError, ValueError):
        return None


def rate_importances(study: "optuna.Study") -> dict[str, float] | None:
    """Return the share of each parameter in the spread of values, by fANOVA (Hutter, Hoos and Leyton-Brown 2014).

    Only keys that are there in every trial with a value take part. None where there is too little to say.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    scored = [one for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
    if len(scored) < FEWEST or len({one.value for one in scored}) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))
