"""Reports: written from records, and shown where a person is."""

import html
import os
from dataclasses import dataclass
from pathlib import Path

from frostline.errors import UserError
from frostline.results.indexes import ADVICE_FILE

HEIGHT = 800
"""Pixels of a report inside a notebook."""


@dataclass(frozen=True)
class Report:
    """A written report; a notebook shows it where it is the last value of a cell."""

    path: Path

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def _repr_html_(self) -> str:
        """Return the page inside a frame that reaches nothing of the notebook around it."""
        page = html.escape(self.path.read_text(), quote=True)
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" '
            f'style="width: 100%; height: {HEIGHT}px; border: 1px solid #ccc"></iframe>'
        )


def make_report(*paths: Path, out: Path | None = None) -> Path:
    """Write the report of a comparison's, a study's or an advice's folder, or of many runs, into ``out``.

    Return the path of report.html, or of advice.html.

    Raises UserError for a path that is neither, and for a set of runs without ``out``.
    """
    from frostline.report import (
        read_advice,
        read_comparison,
        read_study,
        write_advice_report,
        write_report,
        write_study_report,
    )
    from frostline.report.read.comparison import COMPARISON
    from frostline.report.read.study import STUDY
    from frostline.units import format_count

    if len(paths) == 1 and (paths[0] / STUDY).is_file():
        return write_study_report(out or paths[0], read_study(paths[0]))
    if len(paths) == 1 and (paths[0] / ADVICE_FILE).is_file():
        return write_advice_report(out or paths[0], read_advice(paths[0]))
    if out is None and not (len(paths) == 1 and (paths[0] / COMPARISON).is_file()):
        found = read_comparison(paths)  # the more telling error first
        raise UserError(
            f"--out: name a folder for the report on {format_count(len(found.runs), 'run')}, such as --out report."
        )
    return write_report(out or paths[0], read_comparison(paths))


def read_verdict(folder: Path) -> str:
    """Return the sentence in which the report of a comparison's folder says what came of it."""
    from frostline.report import read_comparison
    from frostline.report.statistics.analysis import Analysis

    return Analysis(read_comparison([folder])).verdict.sentence
