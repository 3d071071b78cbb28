"""Learning curves: the validation metric over epochs, with the phases drawn in."""

from collections.abc import Sequence
from functools import partial
from statistics import fmean

from frostline.report.page.charts import Axis, Line, draw_lines
from frostline.report.page.parts import Figure, Fold, Part, Section, Text, make_figure
from frostline.report.page.sections.limits import MOST_BLOCKS, MOST_DRAWN
from frostline.report.read.details import Curve, find_phase_starts, read_curve
from frostline.report.read.runs import Block, RunSummary
from frostline.report.statistics.analysis import Analysis
from frostline.units import format_count

MOST_SEEDS = 10  # runs of a strategy whose curves are read
MOST_MARKS = 6  # phase boundaries in the chart of all strategies


def make_curves(analysis: Analysis) -> Section | None:
    """Return a chart of all strategies for each block, and below a fold one of the seeds of each that has phases."""
    parts: list[Part] = []
    for place, block in enumerate(analysis.blocks[:MOST_BLOCKS], 1):
        made = _block(analysis, block, place)
        title = f"Curves on {analysis.keys[block]}"
        parts += made if place == 1 or not made else [Fold(title, made)]
    if not parts:
        return None
    explained = (
        "An epoch is one pass over the training split; the epoch with the best validation score was tested, not the "
        "last. A phase that was solved rather than stepped has one point, at its last epoch. Drawn are the first "
        f"{format_count(MOST_SEEDS, 'seed')} at most."
    )
    return Section("curves", "Learning curves", [*parts, Text(explained)])


def _block(analysis: Analysis, block: Block, place: int) -> list[Part]:
    read: dict[str, list[tuple[RunSummary, Curve]]] = {}
    for label in analysis.labels[:MOST_DRAWN]:
        runs = analysis.cell(label, block)[:MOST_SEEDS]
        read[label] = [(run, found) for run in runs if (found := read_curve(run, analysis.metric.name))]
    drawn = [_mean_line(label, [found for _, found in pairs]) for label, pairs in read.items() if pairs]
    if not drawn:
        return []
    starts = {label: find_phase_starts(pairs[0][0]) for label, pairs in read.items() if pairs}
    marks = [(float(epoch), f"{label}: {name}") for label, found in starts.items() for epoch, name in found]
    marks = marks if len(marks) <= MOST_MARKS else []
    where = analysis.places[block]
    caption = (
        f"Validation {analysis.name}{where} after each epoch: mean over seeds, band from the lowest to the highest."
    )
    caption += " Dotted lines: where a strategy's next phase begins." if marks else ""
    parts: list[Part] = [_figure(f"curves-{place}", caption, drawn, analysis, marks)]
    phased = [label for label, found in starts.items() if found]
    each = [
        _seeds(analysis, label, read[label], starts[label], f"curves-{place}-{analysis.styles[label]}", where)
        for label in phased
    ]
    return [*parts, Fold(f"Seed by seed, strategies with several phases{where}", each)] if each else parts


def _mean_line(label: str, found: Sequence[Curve]) -> Line:
    """Return the mean over seeds, at the epochs that all of them have, with the lowest and highest seed."""
    tables = [dict(zip(one.epochs, one.values, strict=True)) for one in found]
    epochs = sorted(set.intersection(*(set(table) for table in tables)))
    each = [[table[epoch] for table in tables] for epoch in epochs]
    several = len(tables) > 1
    return Line(
        label,
        [float(epoch) for epoch in epochs],
        [fmean(values) for values in each],
        [min(values) for values in each] if several else None,
        [max(values) for values in each] if several else None,
    )


def _seeds(
    analysis: Analysis,
    label: str,
    pairs: Sequence[tuple[RunSummary, Curve]],
    starts: Sequence[tuple[int, str]],
    id: str,
    where: str,
) -> Figure:
    drawn = [Line(f"seed {run.seed}", [float(epoch) for epoch in one.epochs], one.values) for run, one in pairs]
    caption = f"{label}{where}: validation {analysis.name} of each seed; lines where a phase begins."
    draw = partial(draw_lines, drawn, Axis("epochs done"), Axis(f"validation {analysis.name}"))
    return make_figure(id, caption, partial(draw, marks=[(float(epoch), name) for epoch, name in starts]))


def _figure(
    id: str, caption: str, drawn: Sequence[Line], analysis: Analysis, marks: Sequence[tuple[float, str]]
) -> Figure:
    axes = Axis("epochs done"), Axis(f"validation {analysis.name}")
    return make_figure(id, caption, partial(draw_lines, drawn, *axes, marks=marks, styles=analysis.styles))
