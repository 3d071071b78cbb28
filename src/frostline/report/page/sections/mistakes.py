"""The worst mistakes of the best strategy on the test split."""

from frostline.report.page.parts import Fold, Part, Pictures, Section, Table, TableCell
from frostline.report.page.sections.limits import MOST_BLOCKS
from frostline.report.read.details import Mistake, read_mistakes
from frostline.report.read.runs import Block
from frostline.report.statistics.analysis import Analysis
from frostline.units import format_score


def make_mistakes(analysis: Analysis) -> Section | None:
    """Return the best strategy's worst mistakes, of its first seed, for each block."""
    parts: list[Part] = []
    for place, block in enumerate(analysis.blocks[:MOST_BLOCKS], 1):
        made = _mistakes(analysis, block, place)
        parts += made if place == 1 or not made else [Fold(f"Mistakes on {analysis.keys[block]}", made)]
    return Section("mistakes", "Mistakes", parts) if parts else None


def _mistakes(analysis: Analysis, block: Block, place: int) -> list[Part]:
    run = next((run for label in analysis.labels for run in analysis.cell(label, block)), None)
    found = read_mistakes(run) if run else []
    if run is None or not found:
        return []
    sure = found[0].measure == "probability"
    which = "test samples that it got wrong most confidently" if sure else "test samples with its largest errors"
    caption = f"{run.label}, seed {run.seed}{analysis.places[block]}: {which}."
    shown = [(one.picture, _describe_mistake(one)) for one in found if one.picture]
    if shown:
        return [Pictures(caption, [(picture, said) for picture, said in shown if picture])]
    columns = [("sample", False), ("label", False), ("predicted", False), (found[0].measure, True)]
    rows = [
        [
            TableCell(one.sample),
            TableCell(one.label),
            TableCell(one.prediction),
            TableCell(format_score(one.wrong), one.wrong),
        ]
        for one in found
    ]
    return [Table(f"mistakes-{place}", caption, columns, rows)]


def _describe_mistake(one: Mistake) -> str:
    label, prediction = one.label or "nothing", one.prediction or "nothing"
    if one.measure == "error":
        return f"{label}, predicted {prediction} ({one.sample})"
    return f"{label}, taken for {prediction} with probability {one.wrong:.2f} ({one.sample})"
