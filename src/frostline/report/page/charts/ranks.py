"""Demsar's critical-difference diagram (Demsar 2006, JMLR 7): average ranks, and who cannot be told apart."""

import math
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from frostline.report.page.charts.frame import draw_empty
from frostline.report.page.charts.marks import choose_style, draw_marker, name_colour
from frostline.report.page.charts.place import Box
from frostline.report.page.charts.scale import Scale, is_drawable
from frostline.report.page.charts.svg import WIDE, add, add_target, make_canvas, measure_text, serialise, shorten, write

Ranked = tuple[str, float, int]  # name, average rank, style number
STEP = 24.0
CLIQUE = 9.0


def draw_ranking(
    average: Mapping[str, float],
    critical: float | None,
    cliques: Sequence[Sequence[str]],
    styles: Mapping[str, int] | None = None,
    width: int = WIDE,
) -> str:
    """Return the average ranks on one axis, the best at the left; a thick bar joins those of a clique.

    ``critical`` is the length that a difference must exceed, drawn above the axis.
    """
    known = [(name, rank, choose_style(styles, name, place)) for place, (name, rank) in enumerate(average.items())]
    ranked = sorted((one for one in known if is_drawable(one[1])), key=lambda one: one[1])
    bars = [found for names in cliques if (found := [rank for name, rank, _ in ranked if name in names])]
    half = math.ceil(len(ranked) / 2)
    axis = 62.0 if critical else 40.0
    below = axis + 20 + CLIQUE * len(bars)
    height = below + STEP * half + 18
    root = make_canvas(width, height, f"Average ranks of {len(ranked)} strategies, lower is better")
    if not ranked:
        draw_empty(root, Box(0, 0, width, height))
        return serialise(root)
    wide = width >= WIDE
    side = max(measure_text(shorten(name, width * 0.3)) for name, _, _ in ranked) + 30 if wide else 4.0
    margin = side + 24 if wide else 62.0
    across = Scale(1.0, max(2.0, float(len(ranked)), ranked[-1][1]), margin, width - margin)
    _axis(root, across, axis, critical)
    for place, ranks in enumerate(bars):
        up = axis + 14 + CLIQUE * place
        add(root, "line", "clique", x1=across(min(ranks)) - 5, x2=across(max(ranks)) + 5, y1=up, y2=up)
    for place, one in enumerate(ranked):
        first = place < half
        row = below + STEP * (place if first else len(ranked) - 1 - place) + 12
        group = _strategy(root, one, across(one[1]), axis, row, side if first else width - side)
        _label(group, one, across(one[1]), row, side if first else width - side, width * 0.3 if wide else None)
    return serialise(root)


def _axis(root: Element, across: Scale, height: float, critical: float | None) -> None:
    add(root, "line", "base", x1=across.start, x2=across.end, y1=height, y2=height)
    ranks = range(1, int(across.high) + 1)
    every = max(1, math.ceil(len(ranks) * 20 / (across.end - across.start)))
    for rank in ranks:
        place = across(rank)
        add(root, "line", "base", x1=place, x2=place, y1=height - 6, y2=height)
        if (rank - 1) % every == 0:
            write(root, str(rank), "tick", place, height - 10, text_anchor="middle")
    write(root, "better", "note", across.start - 12, height + 4, text_anchor="end")
    write(root, "worse", "note", across.end + 12, height + 4)
    if critical and is_drawable(critical):
        end = min(across(1 + critical), across.end)
        add(root, "path", "critical", d=f"M{across.start:.1f},{height - 44:.1f}v8m0,-4H{end:.1f}m0,-4v8")
        write(root, f"critical difference {critical:.2f}", "note", end + 8, height - 36)


def _strategy(root: Element, one: Ranked, place: float, axis: float, row: float, side: float) -> Element:
    """Draw a line from the axis down to its row and to the side where the name stands."""
    name, rank, style = one
    group = add_target(root, name, f"average rank: {rank:.2f}", name_colour(style))
    add(group, "path", "elbow", d=f"M{place:.1f},{axis:.1f}V{row:.1f}H{side:.1f}")
    add(group, "circle", "hit", cx=place, cy=axis, r=12)
    draw_marker(group, style, place, axis, 6)
    return group


def _label(group: Element, one: Ranked, place: float, row: float, side: float, widest: float | None) -> None:
    """Write the name beyond the line's end, the rank on it; without room there (None) the name alone on the line."""
    name, rank, _ = one
    outer, inner = ("end", "start") if side < place else ("start", "end")
    if widest is None:
        write(group, shorten(name, max(abs(place - side) - 6, 50)), "name", side, row - 4, text_anchor=inner)
        return
    shift = -8 if side < place else 8
    write(group, shorten(name, widest), "name", side + shift, row + 4.5, text_anchor=outer)
    write(group, f"{rank:.2f}", "number", side - shift * 0.5, row - 4, text_anchor=inner)
