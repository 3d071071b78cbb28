"""Quality against cost: named points with error bars, and the Pareto front through the best of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree.ElementTree import Element

from frostline.report.page.charts.frame import Axis, Frame, draw_empty, draw_frame, name_left_out
from frostline.report.page.charts.marks import choose_style, draw_marker, draw_whisker, name_colour
from frostline.report.page.charts.place import Box, Segment, find_free_box, find_name_line
from frostline.report.page.charts.scale import is_drawable
from frostline.report.page.charts.svg import (
    LINE,
    WIDE,
    add,
    add_target,
    make_canvas,
    measure_text,
    serialise,
    shorten,
    write,
)

FRONT = "Pareto front"


@dataclass(frozen=True)
class ScatterPoint:
    """One strategy's mean; the bounds of its error bars may be missing. ``tip`` adds to the values in its tip."""

    name: str
    x: float
    y: float
    x_low: float | None = None
    x_high: float | None = None
    y_low: float | None = None
    y_high: float | None = None
    tip: str = ""


@dataclass(frozen=True)
class Waiting:
    """What has a cost and no score yet: it stands hollow on the horizontal axis, where it will be."""

    name: str
    x: float
    tip: str = ""


def draw_scatter(
    points: Sequence[ScatterPoint],
    x: Axis,
    y: Axis,
    front: Sequence[str] = (),
    styles: Mapping[str, int] | None = None,
    waiting: Sequence[Waiting] = (),
    front_name: str = FRONT,
    width: int = WIDE,
) -> str:
    """Return the points with their names; those named in ``front`` are joined by a step line, cheapest first.

    ``waiting`` stand hollow at the foot of the chart; without a point there is no height, and they are left out.
    """
    height = width * (0.5 if width >= WIDE else 1.1)
    root = make_canvas(width, height, f"{y.title} against {x.title}, {len(points)} points")
    drawn = [point for point in points if is_drawable(point.x, x.log) and is_drawable(point.y, y.log)]
    outer = Box(4, 4, width - 14, height - 6)
    if not drawn:
        draw_empty(root, outer)
        return serialise(root)
    later = [one for one in waiting if is_drawable(one.x, x.log)]
    xs, ys = _extents(drawn, x, y)
    place = draw_frame(root, outer, x, y, [*xs, *(one.x for one in later)], ys, room=0.1)
    chosen = sorted((point for point in drawn if point.name in front), key=lambda point: point.x)
    steps = _front(root, chosen, place)
    looks = [choose_style(styles, point.name, index) for index, point in enumerate(drawn)]
    groups = [_point(root, point, number, place, x, y) for point, number in zip(drawn, looks, strict=True)]
    groups += [_waiting(root, one, place, x) for one in later]
    marks = [*(_Mark(one.name, _corner(one, place), _room(one, place)) for one in drawn), *_hollows(later, place)]
    taken = _names(groups, marks, place, [step.widen(1.5) for step in steps])
    _name_front(root, front_name, steps, place, taken)
    name_left_out(root, [point.name for point in points if point not in drawn], outer)
    return serialise(root)


def _extents(points: Sequence[ScatterPoint], x: Axis, y: Axis) -> tuple[list[float], list[float]]:
    xs = [value for point in points for value in (point.x, point.x_low, point.x_high)]
    ys = [value for point in points for value in (point.y, point.y_low, point.y_high)]
    return (
        [value for value in xs if value is not None and is_drawable(value, x.log)],
        [value for value in ys if value is not None and is_drawable(value, y.log)],
    )


def _front(root: Element, points: Sequence[ScatterPoint], place: Frame) -> list[Segment]:
    """Draw the best that each cost can buy, and return its steps."""
    if len(points) < 2:
        return []
    corners = [(place.x(point.x), place.y(point.y)) for point in points]
    path = f"M{corners[0][0]:.1f},{corners[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in corners[1:])
    add(root, "path", "front", d=f"{path}H{place.area.right:.1f}")
    ends = [*corners[1:], (place.area.right, 0.0)]
    levels = [Segment(x, y, end, y) for (x, y), (end, _) in zip(corners, ends, strict=True)]
    rises = [Segment(x, before, x, y) for (_, before), (x, y) in zip(corners, corners[1:], strict=False)]
    return levels + rises


def _point(root: Element, point: ScatterPoint, number: int, place: Frame, x: Axis, y: Axis) -> Element:
    tip = "\n".join(
        [y.write_value(point.y, point.y_low, point.y_high), x.write_value(point.x, point.x_low, point.x_high)]
    )
    group = add_target(root, point.name, f"{tip}\n{point.tip}".strip(), name_colour(number))
    across, up = place.x(point.x), place.y(point.y)
    for bar in _bars(point, place):
        if bar.x0 == bar.x1:
            draw_whisker(group, "bar", (bar.y0, bar.y1), across, upright=True)
        else:
            draw_whisker(group, "bar", (bar.x0, bar.x1), up)
    add(group, "circle", "hit", cx=across, cy=up, r=16)
    draw_marker(group, number, across, up, 7.5)
    return group


def _bars(point: ScatterPoint, place: Frame) -> list[Segment]:
    """Return the error bars that a point has."""
    x, y, found = place.x(point.x), place.y(point.y), []
    low, high = point.y_low, point.y_high
    if low is not None and high is not None and is_drawable(low, place.y.log) and is_drawable(high, place.y.log):
        found.append(Segment(x, place.y(low), x, place.y(high)))
    low, high = point.x_low, point.x_high
    if low is not None and high is not None and is_drawable(low, place.x.log) and is_drawable(high, place.x.log):
        found.append(Segment(place.x(low), y, place.x(high), y))
    return [bar for bar in found if bar.length]


def _waiting(root: Element, one: Waiting, place: Frame, x: Axis) -> Element:
    group = add_target(root, one.name, f"{x.write_value(one.x)}\n{one.tip}".strip(), "waiting")
    across = place.x(one.x)
    add(group, "circle", "hit", cx=across, cy=place.area.bottom, r=12)
    add(group, "circle", "hollow", cx=across, cy=place.area.bottom, r=5.5)
    return group


class _Mark(NamedTuple):
    """What is drawn with a name: where, and what it hides."""

    name: str
    centre: tuple[float, float]
    room: Sequence[Box]


def _hollows(later: Sequence[Waiting], place: Frame) -> Iterator[_Mark]:
    for one in later:
        across, up = place.x(one.x), place.area.bottom
        yield _Mark(one.name, (across, up), [Box(across - 6, up - 6, across + 6, up + 6)])


def _names(groups: Sequence[Element], marks: Sequence[_Mark], place: Frame, taken: Sequence[Box]) -> list[Box]:
    """Write each name at the nearest place where it and the line to it hide no point, bar, line or other name."""
    written = list(taken)
    widest = (place.area.right - place.area.left) * 0.45
    for index, (group, mark) in enumerate(zip(groups, marks, strict=True)):
        name = shorten(mark.name, widest)
        others = written + [box for other, one in enumerate(marks) if other != index for box in one.room]
        box = find_free_box(mark.centre, (measure_text(name), LINE - 2), mark.room, others, _find_inside(place))
        line = find_name_line(mark.centre, box)
        if line:
            add(group, "line", "leader", x1=line.x0, y1=line.y0, x2=line.x1, y2=line.y1)
        write(group, name, "name", box.left, box.bottom - 3)
        written.append(box)
    return written + [box for mark in marks for box in mark.room]


def _find_inside(place: Frame) -> Box:
    """Return where names may stand."""
    return Box(place.area.left + 2, place.area.top - 4, place.area.right + 8, place.area.bottom - 2)


def _name_front(root: Element, name: str, steps: Sequence[Segment], place: Frame, taken: Sequence[Box]) -> None:
    """Write what the line is, along its longest step where that hides nothing; elsewhere or else not at all."""
    size = measure_text(name, 11.5)
    for step in sorted((step for step in steps if step.y0 == step.y1), key=lambda step: -step.length):
        left = (step.x0 + step.x1 - size) / 2
        for top in (step.y0 + 3, step.y0 - LINE - 1):
            box = Box(left, top, left + size, top + LINE - 2)
            if _find_inside(place).holds(box) and not any(box.measure_overlap(other) for other in taken):
                write(root, name, "note", left, box.bottom - 3)
                return


def _corner(point: ScatterPoint, place: Frame) -> tuple[float, float]:
    return place.x(point.x), place.y(point.y)


def _room(point: ScatterPoint, place: Frame) -> list[Box]:
    x, y = place.x(point.x), place.y(point.y)
    return [Box(x - 8, y - 8, x + 8, y + 8), *(bar.widen(4) for bar in _bars(point, place))]
