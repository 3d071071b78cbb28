"""A comparison, from Python and from the command line: its runs, then its report."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from frostline.api.overrides import allowing_modules, as_path, make_overrides, write_command
from frostline.api.profiles import ProfileResult, profile_cells
from frostline.api.reports import Report, make_report, read_verdict
from frostline.api.results import RunResult
from frostline.comparison.cells import Design, make_design
from frostline.comparison.index import ComparisonIndex, read
from frostline.comparison.sitting import ComparisonSitting, Detached
from frostline.config.schema import ComparisonConfig
from frostline.errors import UserError
from frostline.files.csv_tables import read_csv
from frostline.launchers.base import Launcher, make_launcher
from frostline.launchers.progress import Screen
from frostline.results.owner import own_folder

KEYS = tuple(one.name for one in fields(ComparisonConfig))


@dataclass(frozen=True)
class ComparisonResult:
    """A comparison, by its ``folder``. ``allowed`` are the modules of one's own that its configs may name."""

    folder: Path
    allowed: tuple[str, ...] = ()

    @cached_property
    def _content(self) -> Mapping[str, Any]:
        content = read(self.folder)
        if content is None:
            raise UserError(f"{self.folder}: there is no comparison that can be read; compare again.")
        return content

    @cached_property
    def runs(self) -> list[RunResult]:
        """Every run that counts, in the order of the report's table; trials of learning rates are left out."""
        return [self._run(row) for row in self._content["runs"] if not row["trial"]]

    @cached_property
    def trials(self) -> list[RunResult]:
        """The runs that chose learning rates."""
        return [self._run(row) for row in self._content["runs"] if row["trial"]]

    @cached_property
    def profiles(self) -> list[ProfileResult]:
        """The depth profiles of its networks and data, each once."""
        paths = dict.fromkeys(row["path"] for row in self._content.get("profiles", ()) if row["path"] is not None)
        return [ProfileResult(Path(os.path.normpath(self.folder / path))) for path in paths]

    def _run(self, row: Mapping[str, Any]) -> RunResult:
        return RunResult(Path(os.path.normpath(self.folder / row["path"])), self.allowed)

    @property
    def table(self) -> list[dict[str, str]]:
        """The report's results.csv: a row for each run with its label, seed, status, scores and costs, as texts."""
        return list(read_csv(self.folder / "results.csv"))

    @cached_property
    def verdict(self) -> str:
        """What came of it: which is best, and what cannot be told apart from that."""
        return read_verdict(self.folder)

    @property
    def report(self) -> Report:
        """The report, which a notebook shows. Raises UserError while runs that were submitted go on."""
        path = self.folder / "report.html"
        if not path.exists():
            raise UserError(f"{self.folder}: there is no report yet; when the runs have ended compare again.")
        return Report(path)

    def _repr_html_(self) -> str | None:
        return self.report._repr_html_() if (self.folder / "report.html").exists() else None


def compare(
    *overrides: Any,
    config_dir: str | os.PathLike[str] | None = None,
    allow: str | Sequence[str] = (),
    quiet: bool = False,
    **keywords: Any,
) -> ComparisonResult:
    """Compare strategies x seeds x whatever is swept, as `frostline compare` does, and return the comparison.

    Arguments are those of ``run``; besides, the keys of the node `compare` go without it, and a list of ``freeze`` is
    ``strategies``: ``compare("data=digits,mnist5k", freeze=["lp_ft", {"last_k": {"k": 2}}], seeds=[0, 1, 2])``.
    With a network and data of one's own in front it is `frostline.api.own.compare`.

    Raises UserError for a mistake. A run that fails costs no other, and the report says why. KeyboardInterrupt: the
    same call again does what is left.
    """
    if any(not isinstance(one, str) for one in overrides[:2]):
        from frostline.api import own

        if config_dir is not None or allow:
            raise UserError("compare: objects of your own are compared without config_dir and allow; leave them out.")
        return own.compare(*overrides, quiet=quiet, **keywords)
    if isinstance(keywords.get("freeze"), list | tuple):
        keywords["strategies"] = keywords.pop("freeze")
    given = make_overrides(overrides, keywords, "compare", KEYS)
    allowed = (allow,) if isinstance(allow, str) else tuple(allow)
    with allowing_modules(allowed):
        design = make_design(given, as_path(config_dir))
        try:
            folder = run_comparison(design, write_command("compare", given, config_dir, allowed), Screen(quiet))
        except Detached:
            folder = find_comparison_folder(design)
    return ComparisonResult(folder, allowed)


def find_comparison_folder(design: Design) -> Path:
    """Return where a comparison lies."""
    return Path(design.config.outputs) / "comparisons" / design.name


def run_comparison(design: Design, command: str, screen: Screen, launcher: Launcher | None = None) -> Path:
    """Run what is left of a comparison, by ``launcher`` or the one that its configs name, and write its report.

    Return its folder.
    Raises Detached where a launcher that does not wait was given runs.
    """
    started = time.monotonic()
    with own_folder(find_comparison_folder(design)) as folder:
        index = ComparisonIndex.open(folder, design, command)
        runs = len(design.cells) * len(design.seeds)
        screen.say(f"{len(design.cells)} cells, {runs} runs; the comparison's folder is {folder}")
        before = index.content["wall_seconds"]
        try:
            with launcher or make_launcher(design.configs()) as workers:
                sitting = ComparisonSitting(design, index, workers, screen)
                facts = sitting.survey_cells()
                if design.config.compare.profile:
                    profile_cells(design, index, workers, screen)
                failed = sitting.complete(facts)
        finally:
            index.set(wall_seconds=before + time.monotonic() - started)
        if failed:
            screen.warn(f"{failed} of {runs} runs have no result; the report says why.")
        make_report(folder)
    return folder
