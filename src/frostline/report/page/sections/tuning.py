"""Learning-rate tuning: the whole curve of each strategy and block, what was chosen, and what to beware of."""

from collections.abc import Iterator, Sequence
from functools import partial

from frostline.report.page.charts import Axis, Line, draw_lines
from frostline.report.page.parts import Figure, Part, Section, Table, TableCell, Text, Warn, make_figure
from frostline.report.page.sections.limits import MOST_BLOCKS, MOST_DRAWN, MOST_ROWS
from frostline.report.read.comparison import TunedRate
from frostline.report.read.runs import Block, RunSummary
from frostline.report.statistics.analysis import Analysis
from frostline.units import NONE, format_count, format_rate, format_score, join_names


def make_tuning(analysis: Analysis) -> Section | None:
    """Return how each strategy came by its learning rate; None where no comparison says."""
    comparison = analysis.comparison
    if not comparison.tuned:
        return None
    trials: dict[tuple[str, Block], list[RunSummary]] = {}
    for run in comparison.trials:
        trials.setdefault((run.label, run.block), []).append(run)
    parts: list[Part] = [Warn(warning) for warning in _edges(analysis)]
    parts += [*_figures(analysis, trials), _table(analysis, trials)]
    seed = f"with seed {comparison.lr_seed}, which no run uses, " if comparison.lr_seed is not None else ""
    parts.append(
        Text(
            f"Each learning rate was tried once {seed}and judged by validation {analysis.name}; the test split was "
            "left alone. One trial each: differences as small as the spread between seeds decide nothing."
        )
    )
    failed = [run for run in comparison.trials if not run.done]
    if failed:
        what = [f"{run.label} at {format_rate(run.lr)} ({run.status})" for run in failed]
        parts.append(Text(f"{format_count(len(failed), 'trial')} without a result: {join_names(what)}."))
    return Section("tuning", "Learning rates", parts)


def _edges(analysis: Analysis) -> Iterator[str]:
    edges = [one for one in analysis.comparison.tuned if one.edge]
    if edges:
        further = "a wider compare.lr_grid" if all(one.extended for one in edges) else "compare.lr_extend=true"
        named = [_name_choice(analysis, one) for one in edges]
        yield (
            f"The best learning rate lies at an end of the grid for {join_names(named)}: a better one may lie beyond; "
            f"{further} would try it."
        )


def _name_choice(analysis: Analysis, one: TunedRate) -> str:
    where = f" on {analysis.keys[one.block]}" if analysis.keys.get(one.block) else ""
    return f"{one.label}{where} ({one.edge} end, {format_rate(one.lr)})"


def _figures(analysis: Analysis, trials: dict[tuple[str, Block], list[RunSummary]]) -> list[Figure]:
    chosen = {(one.label, one.block): one.lr for one in analysis.comparison.tuned if not one.why}
    found = []
    for place, block in enumerate(analysis.blocks[:MOST_BLOCKS], 1):
        drawn = [
            _line(label, trials[label, block], analysis.metric.name, chosen.get((label, block)))
            for label in analysis.labels[:MOST_DRAWN]
            if any(run.done for run in trials.get((label, block), []))
        ]
        if drawn:
            where = f" on {analysis.keys[block]}" if analysis.keys[block] else ""
            caption = (
                f"Validation {analysis.name}{where} against learning rate, one trial each; ringed: what was chosen."
            )
            x, y = Axis("learning rate", log=True), Axis(f"validation {analysis.name}")
            found.append(
                make_figure(f"tuning-{place}", caption, partial(draw_lines, drawn, x, y, styles=analysis.styles))
            )
    return found


def _line(label: str, runs: Sequence[RunSummary], metric: str, chosen: float | None) -> Line:
    points = sorted((run.lr, run.validation[metric]) for run in runs if run.done and run.lr)
    return Line(label, [x for x, _ in points], [y for _, y in points], chosen=chosen)


def _table(analysis: Analysis, trials: dict[tuple[str, Block], list[RunSummary]]) -> Table:
    several = len(analysis.blocks) > 1
    columns = [("strategy", False), *([("block", False)] if several else [])]
    columns += [("chosen", True), (f"tried: validation {analysis.name}", False), ("note", False)]
    rows = []
    for one in analysis.comparison.tuned[:MOST_ROWS]:
        runs = sorted(trials.get((one.label, one.block), []), key=lambda run: run.lr or 0.0)
        tried = [f"{format_rate(run.lr)}: {_describe_trial(run, analysis.metric.name)}" for run in runs]
        row = [TableCell(one.label), *([TableCell(analysis.keys.get(one.block, NONE))] if several else [])]
        rows.append(
            [*row, TableCell(format_rate(one.lr), one.lr), TableCell(", ".join(tried) or NONE), TableCell(_note(one))]
        )
    return Table("tuning", "Learning rates tried on validation, and chosen", columns, rows)


def _describe_trial(run: RunSummary, metric: str) -> str:
    return format_score(run.validation[metric]) if run.done else run.status


def _note(one: TunedRate) -> str:
    if one.why:
        return f"not tuned: {one.why}"
    said = ["grid extended"] if one.extended else []
    return ", ".join([*said, f"at the {one.edge} end of the grid"] if one.edge else said)
