"""A report on disk: report.html, the same as Markdown, and its tables for other programs."""

import re
from collections.abc import Sequence
from pathlib import Path

from frostline.errors import UserError
from frostline.files.atomic import read_bytes, write_atomic
from frostline.report.page.advice.page import make_advice_page
from frostline.report.page.advice.prices import make_price_table
from frostline.report.page.advice.words import write_verdict
from frostline.report.page.html import make_html
from frostline.report.page.markdown import FOLDER, make_markdown
from frostline.report.page.parts import Page
from frostline.report.page.sections import make_page
from frostline.report.page.study.trials import make_study_page
from frostline.report.page.tables import make_results_csv, make_results_tex, make_trials_csv
from frostline.report.read.advice import Advice
from frostline.report.read.comparison import Comparison
from frostline.report.read.study import Study
from frostline.report.statistics.analysis import Analysis


def write_report(folder: Path, comparison: Comparison) -> Path:
    """Write report.html, report.md with its figures, results.csv and table.tex; return report.html's path.

    Nothing in a record is trusted: text is escaped in all four, a run without its numbers has no result. Raises
    WriteError where the folder cannot be written.
    """
    analysis = Analysis(comparison)
    written = _write_page(folder, make_page(analysis))
    write_atomic(folder / "results.csv", make_results_csv(analysis))
    write_atomic(folder / "table.tex", make_results_tex(analysis))
    return written


def write_study_report(folder: Path, study: Study) -> Path:
    """Write the report of a hyper-parameter study, as ``write_report`` does, and trials.csv; return report.html's
    path.
    """
    written = _write_page(folder, make_study_page(study))
    write_atomic(folder / "trials.csv", make_trials_csv(study))
    return written


def write_advice_report(folder: Path, advice: Advice) -> Path:
    """Write advice.html, and advice.md with its figures, as ``write_report`` does; return advice.html's path."""
    return _write_page(folder, make_advice_page(advice), "advice")


def write_advice_lines(advice: Advice) -> tuple[list[str], Sequence[tuple[str, bool]], list[list[str]]]:
    """Return what the page of an advice says first, for a terminal: its sentences, and the price list with its columns.

    The texts are as they stand in the file: who prints them escapes them.
    """
    columns = [("candidate", False), ("time", True), (f"val {advice.metric.title}", True), ("win", True)]
    rows = []
    for name, time, score, spread, _, chance, state in make_price_table(advice).rows:
        said = score.text if spread.value is None else f"{score.text} {spread.text}"
        rows.append([name.text, time.text, said, chance.text, state.text])
    return write_verdict(advice).split("\n"), [*columns, ("state", False)], rows


def _write_page(folder: Path, whole: Page, name: str = "report") -> Path:
    text, figures = make_markdown(whole)
    if (folder / FOLDER).is_symlink():
        raise UserError(
            f"{folder / FOLDER}: this is a link, and a report writes into no folder but its own; remove it."
        )
    before = _figures(folder / f"{name}.md")
    for path, content in figures.items():
        write_atomic(folder / path, content)
    for path in before - figures.keys():
        (folder / path).unlink(missing_ok=True)
    write_atomic(folder / f"{name}.md", text)
    write_atomic(folder / f"{name}.html", make_html(whole))
    return folder / f"{name}.html"


def _figures(report: Path) -> set[str]:
    """Return the figures of the report before this one: of what lies in its folder only these are a report's."""
    try:
        text = read_bytes(report).decode(errors="replace")
    except OSError:
        return set()
    return set(re.findall(rf"\(({FOLDER}/[\w-]+\.(?:svg|png))\)", text))
