"""Dots without names: every trial of a study against when it was tried, or what was tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from frostline.report.page.charts.frame import Axis, Frame, draw_empty, draw_frame
from frostline.report.page.charts.key import draw_key, measure_key
from frostline.report.page.charts.marks import draw_marker, name_colour
from frostline.report.page.charts.place import Box
from frostline.report.page.charts.scale import is_drawable
from frostline.report.page.charts.svg import WIDE, add, add_series, add_target, make_canvas, serialise


@dataclass(frozen=True)
class Dot:
    """One value; ``name`` heads its tip, ``ringed`` marks the one that was chosen."""

    name: str
    x: float
    y: float
    tip: str = ""
    ringed: bool = False


Kind = tuple[str, int, Sequence[Dot]]
"""What the dots of a kind are called, their style number, and the dots."""


def draw_dots(
    kinds: Sequence[Kind], x: Axis, y: Axis, steps: Sequence[tuple[float, float]] = (), width: int = WIDE
) -> str:
    """Return the dots, a key above them, and a step line through ``steps``, which goes on to the right edge."""
    kept = [(name, style, [one for one in found if _fits(one, x, y)]) for name, style, found in kinds]
    kept = [kind for kind in kept if kind[2]]
    named = [(name, style) for name, style, _ in kept]
    height, above = width * (0.4 if width >= WIDE else 0.8), measure_key(named, width)
    count = sum(len(found) for *_, found in kept)
    root = make_canvas(width, height + above, f"{y.title} against {x.title}, {count} dots")
    outer = Box(4, 4 + above, width - 14, height + above - 6)
    if not kept:
        draw_empty(root, outer)
        return serialise(root)
    draw_key(root, named, width, lines=False)
    every = [one for *_, found in kept for one in found]
    place = draw_frame(root, outer, x, y, [one.x for one in every], [one.y for one in every], room=0.03)
    if steps:
        ups = "".join(f"H{place.x(across):.1f}V{place.y(up):.1f}" for across, up in steps[1:])
        start = f"M{place.x(steps[0][0]):.1f},{place.y(steps[0][1]):.1f}"
        add(root, "path", "front", d=f"{start}{ups}H{place.area.right:.1f}")
    for name, style, found in kept:
        group = add_series(root, name, name_colour(style))
        for index, one in enumerate(found):
            _draw(group, one, style, place, (x, y), first=index == 0)
    return serialise(root)


def _fits(one: Dot, x: Axis, y: Axis) -> bool:
    return is_drawable(one.x, x.log) and is_drawable(one.y, y.log)


def _draw(group: Element, one: Dot, style: int, place: Frame, axes: tuple[Axis, Axis], first: bool) -> None:
    x, y = axes
    tip = "\n".join(said for said in (y.write_value(one.y), x.write_value(one.x), one.tip) if said)
    point = add_target(group, one.name, tip, "", first=first, named=False)
    across, up = place.x(one.x), place.y(one.y)
    add(point, "circle", "hit", cx=across, cy=up, r=9)
    draw_marker(point, style, across, up, 4.5)
    if one.ringed:
        add(point, "circle", "ring", cx=across, cy=up, r=10)
