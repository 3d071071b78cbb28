"""A search for hyper-parameters, from Python and from the command line: its trials, its final run, then its report."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from frostline.api.overrides import allowing_modules, as_path, make_overrides, write_command
from frostline.api.reports import Report, make_report
from frostline.api.results import RunResult
from frostline.config.schema import Run, StudyConfig
from frostline.errors import UserError
from frostline.files.atomic import make_folder
from frostline.launchers.base import make_launcher
from frostline.launchers.progress import Screen
from frostline.results.owner import release_folder, take_folder
from frostline.tuning.index import StudyIndex, find_best_trial, read
from frostline.tuning.search import Search, make_search
from frostline.tuning.sitting import StudySitting
from frostline.tuning.study import explaining_storage, find_storage_url, open_study

KEYS = tuple(one.name for one in fields(StudyConfig) if one.name not in {root.name for root in fields(Run)})


@dataclass(frozen=True)
class StudyResult:
    """A study, by its ``folder``. ``allowed`` are the modules of one's own that its configs may name."""

    folder: Path
    allowed: tuple[str, ...] = ()

    @cached_property
    def _content(self) -> Mapping[str, Any]:
        content = read(self.folder)
        if content is None:
            raise UserError(f"{self.folder}: there is no study that can be read; tune again.")
        return content

    @property
    def trials(self) -> Sequence[Mapping[str, Any]]:
        """Every trial: ``number``, ``status``, ``value`` (the best validation score), ``overrides`` and more."""
        return self._content["trials"]

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The trial with the best value; None where none has any."""
        return find_best_trial(self._content)

    @property
    def run(self) -> RunResult | None:
        """The run of the best trial's settings that was tested; None where no trial has a value."""
        final = self._content["final"]
        return RunResult(Path(os.path.normpath(self.folder / final["path"])), self.allowed) if final else None

    @property
    def report(self) -> Report:
        """The report, which a notebook shows."""
        return Report(self.folder / "report.html")

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def tune(
    *overrides: str,
    config_dir: str | os.PathLike[str] | None = None,
    allow: str | Sequence[str] = (),
    quiet: bool = False,
    **keywords: Any,
) -> StudyResult:
    """Search hyper-parameters with Optuna, test the best once, as `frostline tune` does, and return the study.

    Arguments are those of ``run``; besides, the keys of the node `tune` go without it, but for its ``seed``:
    ``tune("freeze=full,lp_ft", space={"optimizer.lr": {"log": [1e-5, 1e-2]}}, trials=20)``.

    Raises UserError for a mistake, and while another process is at work on the study. KeyboardInterrupt: the same
    call again goes on.
    """
    given = make_overrides(overrides, keywords, "tune", KEYS)
    allowed = (allow,) if isinstance(allow, str) else tuple(allow)
    with allowing_modules(allowed):
        search = make_search(given, as_path(config_dir))
        run_study(search, write_command("tune", given, config_dir, allowed), Screen(quiet))
    return StudyResult(find_study_folder(search), allowed)


def find_study_folder(search: Search) -> Path:
    """Return where a study lies."""
    return Path(search.config.outputs) / "studies" / search.name


def run_study(search: Search, command: str, screen: Screen) -> Mapping[str, Any] | None:
    """Run what is left of a study and write its report; return the final run's record, None where there is none."""
    started = time.monotonic()
    with owning_study(find_study_folder(search)) as folder, explaining_storage(find_storage_url(search, folder)):
        study = open_study(search, folder)
        index = StudyIndex.open(search, folder, command)
        index.update(study)
        there = sum(row["status"] not in ("running", "waiting") for row in index.content["trials"])
        screen.say(f"{search.trials} trials, {there} there already; the study's folder is {folder}")
        before = index.content["wall_seconds"]
        try:
            record = complete_study(StudySitting(search, study, index, make_launcher(search.corners), screen))
        finally:
            index.set(wall_seconds=before + time.monotonic() - started)
        warn_of_failures(index, record, screen)
        make_report(folder)
    return record


def complete_study(sitting: StudySitting) -> Mapping[str, Any] | None:
    """Return the final run's record; the launcher is not entered where nothing is left to do."""
    known = sitting.find_final_record()
    if known is not None:
        return known
    with sitting.launcher:
        return sitting.complete()


def warn_of_failures(index: StudyIndex, record: Mapping[str, Any] | None, screen: Screen) -> None:
    """Show what of a study has no result."""
    failed = [row for row in index.content["trials"] if row["status"] not in ("done", "pruned")]
    if failed:
        screen.warn(f"{len(failed)} trials have no result; the report says why.")
    if record is None:
        screen.warn("no trial has a value, so there is no best one.")
    elif record["status"] != "done":
        screen.warn(f"the final run {record['status']}: {record['reason']}")


@contextmanager
def owning_study(folder: Path) -> Iterator[Path]:
    """Own a study's folder. Raises UserError while another process does: one alone may ask and tell."""
    make_folder(folder)
    if not take_folder(folder):
        raise UserError(f"{folder}: another process is at work on this study; wait for it, or give another tune.name.")
    try:
        yield folder
    finally:
        release_folder(folder)
