"""The results: each strategy's test scores, over all blocks and on each."""

import math
from collections.abc import Sequence

from frostline.report.page.parts import Fold, Part, Section, Table, TableCell, Text
from frostline.report.page.sections.limits import MOST_BLOCKS, MOST_ROWS
from frostline.report.read.runs import Block
from frostline.report.statistics.analysis import Analysis, Mean
from frostline.units import NONE, format_count, format_interval, format_score, join_names

MOST_SEEDS = 10  # scores of single seeds in one cell


def make_results(analysis: Analysis) -> Section:
    """Return the table of results: of the one block, or over all of them with a table for each folded."""
    shown = analysis.blocks[:MOST_BLOCKS]
    parts: list[Part] = [_table(analysis, None, "results"), Text(_spread(analysis))]
    if len(analysis.blocks) > 1:
        parts[0] = _overall(analysis, shown)
        parts += [
            Fold(f"Results on {analysis.keys[block]}", [_table(analysis, block, f"results-{place}")])
            for place, block in enumerate(shown, 1)
        ]
        parts += _note_left_out(len(analysis.blocks) - len(shown), "block")
    parts += _note_left_out(len(analysis.labels) - MOST_ROWS, "strategy", "strategies")
    others = _other_scores(analysis)
    return Section("results", "Results", [*parts, Fold("Every other test score", [others])] if others else parts)


def _spread(analysis: Analysis) -> str:
    over = "seeds" if len(analysis.blocks) == 1 else "the blocks of the mean over seeds"
    lower = ", where lower is better" if analysis.metric.lower_is_better else ""
    return (
        f"Test {analysis.name}{lower}: mean over {over}, of n runs. The 95% interval is Student's t: it speaks of the "
        f"spread over seeds on these test samples, and of nothing else.{_bounds(analysis)} A run without a result is "
        "in no mean."
    )


def _bounds(analysis: Analysis) -> str:
    """Return where intervals are cut off, and why they may be; nothing for a score without bounds."""
    ends = [f"{end:g}" for end in analysis.metric.bounds if math.isfinite(end)]
    if not ends:
        return ""
    return f" It is cut off at {' and '.join(ends)}: no mean can lie beyond, so the level of confidence stays 95%."


def _note_left_out(number: int, thing: str, things: str | None = None) -> list[Part]:
    return (
        [Text(f"{format_count(number, 'more ' + thing, f'more {things}' if things else None)}: see results.csv.")]
        if number > 0
        else []
    )


def _table(analysis: Analysis, block: Block | None, id: str) -> Table:
    failed = analysis.count_failed(block)
    title = f"Test {analysis.name}" + (f" on {analysis.keys[block]}" if block and analysis.keys[block] else "")
    columns = [("strategy", False), ("mean", True), ("95% interval", True), ("n", True), ("each seed", False)]
    rows = []
    for label in analysis.labels[:MOST_ROWS]:
        found = analysis.score(label, block)
        each = join_names([format_score(value) for value in found.values], MOST_SEEDS) if found else NONE
        row = [TableCell(label), *_mean_cells(found), TableCell(each)]
        rows.append(row + [TableCell(str(failed[label]), failed[label])] if failed else row)
    return Table(id, title, columns + [("no result", True)] if failed else columns, rows)


def _mean_cells(found: Mean | None) -> list[TableCell]:
    if found is None:
        return [TableCell(NONE), TableCell(NONE), TableCell("0", 0)]
    spread = format_interval(found.interval.low, found.interval.high) if found.interval else NONE
    return [
        TableCell(format_score(found.mean), found.mean),
        TableCell(spread, found.width),
        TableCell(str(found.n), found.n),
    ]


def _overall(analysis: Analysis, shown: Sequence[Block]) -> Table:
    ranks = analysis.ranks.average if analysis.ranks else {}
    columns = [("strategy", False), ("mean over blocks", True), ("95% interval", True), ("n", True)]
    columns += [("average rank", True)] if ranks else []
    columns += [(analysis.keys[block], True) for block in shown]
    rows = []
    for label in analysis.labels[:MOST_ROWS]:
        row = [TableCell(label), *_mean_cells(analysis.score(label, None))]
        row += [TableCell(f"{ranks[label]:.2f}", ranks[label]) if label in ranks else TableCell(NONE)] if ranks else []
        rows.append(row + [_make_short(analysis.score(label, block)) for block in shown])
    return Table(
        "results",
        f"Test {analysis.name}: over all blocks, and mean with 95% interval on each",
        columns,
        rows,
    )


def _make_short(found: Mean | None) -> TableCell:
    if found is None:
        return TableCell(NONE)
    spread = f" {format_interval(found.interval.low, found.interval.high)}" if found.interval else ""
    return TableCell(format_score(found.mean) + spread, found.mean)


def _other_scores(analysis: Analysis) -> Table | None:
    names = dict.fromkeys(
        name for label in analysis.labels for run in analysis.cell(label, None) for name in run.scores
    )
    others = [name for name in names if name != analysis.metric.name]
    rows = [
        [TableCell(label), *(_make_short(analysis.score(label, None, name)) for name in others)]
        for label in analysis.labels[:MOST_ROWS]
    ]
    columns = [("strategy", False), *((analysis.comparison.declaration.metric(name).title, True) for name in others)]
    return Table("scores", "Test scores: mean with 95% interval over seeds", columns, rows) if others else None
