"""The results: each strategy's test scores, over all blocks and on each."""

from collections.abc import Sequence

from frostline.report.statistics.analysis import Analysis, Mean
from frostline.report.page.parts import Cell, Fold, Part, Section, Table, Text
from frostline.report.read.runs import Block
from frostline.report.page.sections.limits import MOST_BLOCKS, MOST_ROWS
from frostline.units import NONE, PLUS_MINUS, interval, listed, plural, score

MOST_SEEDS = 10  # scores of single seeds in one cell


def results(analysis: Analysis) -> Section:
    """Return the table of results: of the one block, or over all of them with a table for each folded."""
    shown = analysis.blocks[:MOST_BLOCKS]
    parts: list[Part] = [_table(analysis, None, "results"), Text(_spread(analysis))]
    if len(analysis.blocks) > 1:
        parts[0] = _overall(analysis, shown)
        parts += [
            Fold(f"Results on {analysis.keys[block]}", [_table(analysis, block, f"results-{place}")])
            for place, block in enumerate(shown, 1)
        ]
        parts += _left_out(len(analysis.blocks) - len(shown), "block")
    parts += _left_out(len(analysis.labels) - MOST_ROWS, "strategy", "strategies")
    others = _other_scores(analysis)
    return Section("results", "Results", [*parts, Fold("Every other test score", [others])] if others else parts)


def _spread(analysis: Analysis) -> str:
    over = "seeds" if len(analysis.blocks) == 1 else "the blocks of the mean over seeds"
    return (
        f"Test {analysis.name}{', where lower is better' if analysis.lower else ''}: mean over {over}, of n runs. "
        "The 95% interval is Student's t: it speaks of the spread over seeds on these test samples, and of nothing "
        "else. A run without a result is in no mean."
    )


def _left_out(number: int, thing: str, things: str | None = None) -> list[Part]:
    return (
        [Text(f"{plural(number, 'more ' + thing, f'more {things}' if things else None)}: see results.csv.")]
        if number > 0
        else []
    )


def _table(analysis: Analysis, block: Block | None, id: str) -> Table:
    failed = analysis.failed(block)
    title = f"Test {analysis.name}" + (f" on {analysis.keys[block]}" if block and analysis.keys[block] else "")
    columns = [("strategy", False), ("mean", True), ("95% interval", True), ("n", True), ("each seed", False)]
    rows = []
    for label in analysis.labels[:MOST_ROWS]:
        found = analysis.score(label, block)
        each = listed([score(value) for value in found.values], MOST_SEEDS) if found else NONE
        row = [Cell(label), *_mean_cells(found), Cell(each)]
        rows.append(row + [Cell(str(failed[label]), failed[label])] if failed else row)
    return Table(id, title, columns + [("no result", True)] if failed else columns, rows)


def _mean_cells(found: Mean | None) -> list[Cell]:
    if found is None:
        return [Cell(NONE), Cell(NONE), Cell("0", 0)]
    spread = interval(found.interval.low, found.interval.high) if found.interval else NONE
    return [Cell(score(found.mean), found.mean), Cell(spread, found.half), Cell(str(found.n), found.n)]


def _overall(analysis: Analysis, shown: Sequence[Block]) -> Table:
    ranks = analysis.ranks.average if analysis.ranks else {}
    columns = [("strategy", False), ("mean over blocks", True), ("95% interval", True), ("n", True)]
    columns += [("average rank", True)] if ranks else []
    columns += [(analysis.keys[block], True) for block in shown]
    rows = []
    for label in analysis.labels[:MOST_ROWS]:
        row = [Cell(label), *_mean_cells(analysis.score(label, None))]
        row += [Cell(f"{ranks[label]:.2f}", ranks[label]) if label in ranks else Cell(NONE)] if ranks else []
        rows.append(row + [_short(analysis.score(label, block)) for block in shown])
    return Table(
        "results",
        f"Test {analysis.name}: over all blocks, and mean {PLUS_MINUS} half the 95% interval on each",
        columns,
        rows,
    )


def _short(found: Mean | None) -> Cell:
    if found is None:
        return Cell(NONE)
    spread = f" {PLUS_MINUS} {score(found.half)}" if found.half is not None else ""
    return Cell(score(found.mean) + spread, found.mean)


def _other_scores(analysis: Analysis) -> Table | None:
    names = dict.fromkeys(
        name for label in analysis.labels for run in analysis.cell(label, None) for name in run.scores
    )
    others = [name for name in names if name != analysis.metric]
    rows = [
        [Cell(label), *(_short(analysis.score(label, None, name)) for name in others)]
        for label in analysis.labels[:MOST_ROWS]
    ]
    columns = [("strategy", False), *((name.replace("_", " "), True) for name in others)]
    return (
        Table("scores", f"Test scores: mean {PLUS_MINUS} half the 95% interval over seeds", columns, rows)
        if others
        else None
    )
