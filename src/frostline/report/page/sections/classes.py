"""Scores of single classes, and confusion matrices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from frostline.report.page.charts import draw_matrix
from frostline.report.page.parts import Fold, Part, Section, Table, TableCell, Text, make_figure
from frostline.report.page.sections.limits import MOST_BLOCKS
from frostline.report.read.answers import Tags
from frostline.report.read.details import read_confusion
from frostline.report.read.predictions import read_answers
from frostline.report.read.runs import Block, RunSummary, look_up, parse_shared
from frostline.report.statistics.analysis import Analysis
from frostline.units import format_count, format_number, format_score

MOST_LABELS = 12  # strategies whose confusion matrices are read
MOST_SEEDS = 30  # runs summed into one
MOST_CLASSES = 30  # classes in a drawn matrix
MOST_PAIRS = 20  # confusions listed where there are more classes
MOST_OPEN = 12  # classes in a table that is not folded
MOST_ROWS = 1000


def make_classes(analysis: Analysis) -> Section | None:
    """Return each block's per-class scores and confusions: of the best strategy open, of the others folded."""
    parts: list[Part] = []
    for place, block in enumerate(analysis.blocks[:MOST_BLOCKS], 1):
        made = list(_block(analysis, block, place))
        parts += made if place == 1 or not made else [Fold(f"Classes on {analysis.keys[block]}", made)]
    if not parts:
        return None
    note = f"Summed over seeds (the first {MOST_SEEDS} at most): the counts are test samples times seeds."
    return Section("classes", "Classes", [*parts, Text(note)])


def _block(analysis: Analysis, block: Block, place: int) -> Iterator[Part]:
    names = next((_classes(run) for label in analysis.labels for run in analysis.cell(label, block)), [])
    read = {
        label: _counts(analysis.cell(label, block)[:MOST_SEEDS], len(names)) for label in analysis.labels[:MOST_LABELS]
    }
    found = {label: counts for label, counts in read.items() if counts is not None}
    if not found:
        return
    if len(names) <= MOST_CLASSES and len(found) > 1:
        f1 = [[one[2] for one in counts.scores()] for counts in found.values()]
        caption = f"F1 of each class{analysis.places[block]}, from the answers of all seeds."
        draw = partial(draw_matrix, list(found), names, f1, styles=analysis.styles, title="F1 of each class")
        yield make_figure(f"f1-{place}", caption, draw)
    first, *others = found
    yield from _label(analysis, block, first, names, found[first], place)
    if others:
        folds = [Fold(one, list(_label(analysis, block, one, names, found[one], place))) for one in others]
        yield Fold(f"The same for {format_count(len(others), 'other strategy', 'other strategies')}", folds)


def _classes(run: RunSummary) -> list[str]:
    names = look_up(parse_shared(run.data), "classes")
    return [str(name) for name in names] if isinstance(names, list) else []


@dataclass(frozen=True)
class ClassCounts:
    """How often each class was told rightly, was there, and was told [C]; ``table`` is the confusion matrix, if any."""

    right: np.ndarray
    real: np.ndarray
    said: np.ndarray
    table: np.ndarray | None

    def scores(self) -> list[tuple[float | None, float | None, float | None]]:
        """Return (precision, recall, F1) of each class; None where it has no predictions, samples, or neither."""

        def ratio(above: float, below: float) -> float | None:
            return float(above / below) if below else None

        return [
            (ratio(hit, out), ratio(hit, inside), ratio(2 * hit, inside + out))
            for hit, inside, out in zip(self.right, self.real, self.said, strict=True)
        ]


def _counts(runs: Sequence[RunSummary], size: int) -> ClassCounts | None:
    """Return the counts of runs added up: from confusion matrices, or where samples have several classes, answers."""
    if runs and runs[0].declaration.predictions == "tags":
        told = [one for run in runs if isinstance(one := read_answers(run), Tags) and one.labels.shape[1] == size]
        each = [(one.labels & one.predictions, one.labels, one.predictions) for one in told]
        if not each:
            return None
        right, real, said = (np.sum([part.sum(axis=0) for part in parts], axis=0) for parts in zip(*each, strict=True))
        return ClassCounts(right, real, said, None)
    found = [table for run in runs if (table := read_confusion(run)) is not None and len(table) == size]
    if not found:
        return None
    table = np.sum(found, axis=0)
    return ClassCounts(np.diag(table), table.sum(axis=1), table.sum(axis=0), table)


def _label(
    analysis: Analysis, block: Block, label: str, names: Sequence[str], counts: ClassCounts, place: int
) -> Iterator[Part]:
    id = f"{place}-{analysis.styles[label]}"
    where = f"{label}{analysis.places[block]}"
    if counts.table is not None and len(names) <= MOST_CLASSES:
        caption = f"{where}: confusions on the test split. Rows: the true class; columns: the predicted one."
        title = "true class (rows), predicted (columns)"
        yield make_figure(
            f"confusion-{id}",
            caption,
            partial(draw_matrix, names, names, counts.table.tolist(), form=".0f", title=title),
        )
    elif counts.table is not None:
        yield _pairs(where, names, counts.table, f"confused-{id}")
    columns = [("class", False), ("samples \u00d7 seeds", True), ("precision", True), ("recall", True), ("F1", True)]
    rows = [
        [TableCell(name), TableCell(format_number(real), real), *(TableCell(format_score(one), one) for one in each)]
        for name, real, each in zip(names, counts.real.tolist(), counts.scores(), strict=True)
    ]
    each_class = Table(f"classes-{id}", f"{where}: test scores of each class", columns, rows[:MOST_ROWS])
    yield (
        each_class
        if len(names) <= MOST_OPEN
        else Fold(f"Scores of each of {len(names)} classes: {where}", [each_class])
    )


def _pairs(where: str, names: Sequence[str], table: np.ndarray, id: str) -> Table:
    """Return the most frequent confusions, for matrices too large to draw."""
    wrong = table - np.diag(np.diag(table))
    order = np.argsort(wrong, axis=None)[::-1][:MOST_PAIRS]
    places = [(int(one // len(names)), int(one % len(names))) for one in order if wrong.flat[one]]
    rows = [
        [TableCell(names[a]), TableCell(names[b]), TableCell(format_number(wrong[a, b]), float(wrong[a, b]))]
        for a, b in places
    ]
    columns = [("true class", False), ("predicted", False), ("times", True)]
    return Table(id, f"{where}: the most frequent confusions", columns, rows)
