"""What a report says, in its order: the verdict, the picture, the tables, how it was done."""

from collections.abc import Sequence

from frostline.report.page.escaping import LONGEST_PARAGRAPH, escape_line
from frostline.report.page.parts import Page, Section
from frostline.report.page.sections.classes import make_classes
from frostline.report.page.sections.costs import make_costs, make_examples
from frostline.report.page.sections.curves import make_curves
from frostline.report.page.sections.depths import make_depths
from frostline.report.page.sections.differences import make_differences, make_ranks
from frostline.report.page.sections.drift import make_drift
from frostline.report.page.sections.method import make_failures, make_method
from frostline.report.page.sections.mistakes import make_mistakes
from frostline.report.page.sections.picture import make_picture
from frostline.report.page.sections.results import make_results
from frostline.report.page.sections.tuning import make_tuning
from frostline.report.page.sections.warnings import list_warnings
from frostline.report.read.axes import name_component
from frostline.report.read.runs import as_object, parse_shared
from frostline.report.statistics.analysis import Analysis
from frostline.units import format_count, format_duration, format_score, join_names

__all__ = ["make_page"]

GLANCE = 170  # letters of the verdict that are set large


def make_page(analysis: Analysis) -> Page:
    """Return the whole report; parts that the records know nothing of are left out."""
    found: Sequence[Section | None] = (
        make_picture(analysis, list_warnings(analysis)),
        make_results(analysis),
        make_differences(analysis),
        make_ranks(analysis),
        make_depths(analysis),
        make_examples(analysis),
        make_costs(analysis),
        make_tuning(analysis),
        make_curves(analysis),
        make_drift(analysis),
        make_classes(analysis),
        make_mistakes(analysis),
        make_failures(analysis),
        make_method(analysis),
    )
    return Page(
        title=analysis.comparison.name,
        verdict=_lines(analysis.verdict.sentence),
        sections=[section for section in found if section and section.parts],
        subtitle=_subtitle(analysis),
        facts=_figures(analysis),
        styles=analysis.styles,
    )


def _subtitle(analysis: Analysis) -> str:
    comparison = analysis.comparison
    parts = [
        format_count(len(comparison.labels), "strategy", "strategies"),
        format_count(len({run.seed for run in comparison.runs}), "seed"),
        *([format_count(len(analysis.blocks), "block")] if len(analysis.blocks) > 1 else []),
    ]
    return " \u00d7 ".join(parts) + "".join(
        f", {said}" for said in (_kinds(analysis, "data"), _kinds(analysis, "backbone")) if said
    )


def _kinds(analysis: Analysis, node: str) -> str:
    """Return what the finished runs have as a component, each once."""
    runs = (run for label in analysis.labels for run in analysis.cell(label, None))
    return join_names(
        list(dict.fromkeys(name_component(as_object(parse_shared(run.config).get(node))) for run in runs)), 4
    )


def _lines(verdict: str) -> str:
    """Put as many sentences as are read at a glance on a line of their own, which is set large."""
    verdict = escape_line(verdict, LONGEST_PARAGRAPH)
    end = verdict.rfind(". ", 0, GLANCE)
    return verdict if end < 0 else f"{verdict[: end + 1]}\n{verdict[end + 2 :]}"


def _figures(analysis: Analysis) -> list[tuple[str, str]]:
    """Return the few numbers that are set large."""
    best, cheapest = analysis.best, analysis.verdict.cheapest
    found = [(f"{len(analysis.comparison.runs):,}", "runs")]
    if best and (top := analysis.score(best, None)):
        found.append((format_score(top.mean), f"mean test {analysis.name} of {best}"))
    if best and cheapest and cheapest != best:
        dear, cheap = analysis.cost(best, "seconds"), analysis.cost(cheapest, "seconds")
        if dear and cheap and dear.mean > 1.1 * cheap.mean:  # a few percent are noise, and no reason to change
            found.append(
                (f"{dear.mean / cheap.mean:.1f}\u00d7", f"less time with {cheapest}, not told apart from {best}")
            )
    if analysis.comparison.wall_seconds is not None:
        found.append((format_duration(analysis.comparison.wall_seconds), "wall time, everything"))
    return found
