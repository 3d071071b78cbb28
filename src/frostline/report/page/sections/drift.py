"""What training changed: how far each group moved, and how similar its features stayed."""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean

from frostline.report.page.charts import draw_matrix
from frostline.report.page.parts import Fold, Part, Section, Text, make_figure
from frostline.report.page.sections.limits import MOST_BLOCKS, MOST_DRAWN
from frostline.report.read.runs import Block
from frostline.report.statistics.analysis import Analysis

LOOKS = {"moved": ("relative L2 distance", ".3f"), "similarity": ("linear CKA", ".2f")}
MOVED = (
    "How far each group's parameters moved from those the run began with: the L2 norm of the change over the L2 norm "
    "before, means over seeds. 0: not at all."
)
SIMILAR = (
    "Similarity of each group's output features before and after training, on validation samples: linear CKA "
    "(Kornblith et al. 2019), means over seeds. 1: the same up to rotation and scale."
)


def make_drift(analysis: Analysis) -> Section | None:
    """Return the two heat maps, strategy x group, for each block; None where no record has them."""
    parts: list[Part] = []
    for place, block in enumerate(analysis.blocks[:MOST_BLOCKS], 1):
        made = [*_heat(analysis, block, "moved", MOVED, place), *_heat(analysis, block, "similarity", SIMILAR, place)]
        parts += made if place == 1 or not made else [Fold(f"The same on {analysis.keys[block]}", made)]
    if not parts:
        return None
    note = "Groups stand in depth order, the input's on the left; empty: not measured."
    return Section("drift", "What changed", [*parts, Text(note)])


def _heat(analysis: Analysis, block: Block, name: str, caption: str, place: int) -> list[Part]:
    cells = {label: analysis.cell(label, block) for label in analysis.labels[:MOST_DRAWN]}
    rows = {label: _means([getattr(run, name) for run in runs]) for label, runs in cells.items()}
    rows = {label: row for label, row in rows.items() if row}
    if not rows:
        return []
    groups = list(dict.fromkeys(group for row in rows.values() for group in row))
    values = [[row.get(group) for group in groups] for row in rows.values()]
    title, form = LOOKS[name]
    draw = partial(draw_matrix, list(rows), groups, values, form=form, styles=analysis.styles, title=title)
    where = f" On {analysis.keys[block]}." if analysis.keys[block] else ""
    return [make_figure(f"{name}-{place}", f"{caption}{where}", draw)]


def _means(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    groups = dict.fromkeys(group for table in tables for group in table)
    return {group: fmean(table[group] for table in tables if group in table) for group in groups}
