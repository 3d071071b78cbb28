"""A report on disk: report.html, the same as Markdown, and its tables for other programs."""

from pathlib import Path

from frostline.files import write_atomic
from frostline.report.analysis import Analysis
from frostline.report.markdown import FOLDER, document
from frostline.report.page import Page, html
from frostline.report.search import Search
from frostline.report.sections import page
from frostline.report.sections.search import search_page
from frostline.report.study import Study
from frostline.report.tables import results_csv, results_tex, trials_csv


def write_report(folder: Path, study: Study) -> Path:
    """Write report.html, report.md with its figures, results.csv and table.tex; return report.html's path.

    Nothing in a record is trusted: text is escaped in all four, a run without its numbers has no result.
    """
    analysis = Analysis(study)
    write_atomic(folder / "results.csv", results_csv(analysis))
    write_atomic(folder / "table.tex", results_tex(analysis))
    return _write_page(folder, page(analysis))


def write_search_report(folder: Path, search: Search) -> Path:
    """Write the report of a hyper-parameter study, as ``write_report`` does, and trials.csv; return report.html's
    path.
    """
    write_atomic(folder / "trials.csv", trials_csv(search))
    return _write_page(folder, search_page(search))


def _write_page(folder: Path, whole: Page) -> Path:
    text, figures = document(whole)
    for path, content in figures.items():
        write_atomic(folder / path, content)
    for path in (folder / FOLDER).glob("*"):  # of a report before this one
        if f"{FOLDER}/{path.name}" not in figures:
            path.unlink()
    write_atomic(folder / "report.md", text)
    write_atomic(folder / "report.html", html(whole))
    return folder / "report.html"
