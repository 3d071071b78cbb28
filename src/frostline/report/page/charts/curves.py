"""Lines with their names at their ends: learning curves, learning rates, accuracy against examples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from frostline.report.page.charts.frame import Axis, Frame, draw_empty, draw_frame, name_left_out
from frostline.report.page.charts.key import Named, draw_key, measure_key
from frostline.report.page.charts.marks import choose_style, draw_marker, draw_whisker, find_dash, name_colour
from frostline.report.page.charts.place import Box, spread
from frostline.report.page.charts.scale import is_drawable
from frostline.report.page.charts.svg import (
    LINE,
    WIDE,
    add,
    add_series,
    add_target,
    make_canvas,
    measure_text,
    serialise,
    shorten,
    write,
)

MOST_TIPS = 40  # points of a line that say their values
MOST_MARKERS = 12
ROOMY = 12.0  # between two places of an axis of names, for a marker at each
GAP = LINE + 1  # between the names at the lines' ends


@dataclass(frozen=True)
class Line:
    """Values of one strategy, with a band from ``lows`` to ``highs``; ``chosen`` is the x of a value to be ringed.

    With ``bars`` the bounds of a value that has a marker are drawn as an error bar, and there is no band.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    lows: Sequence[float] | None = None
    highs: Sequence[float] | None = None
    chosen: float | None = None
    bars: bool = False

    def list_drawable(self, x: Axis, y: Axis) -> list[int]:
        """Return the places of the values that can be drawn."""
        pairs = enumerate(zip(self.xs, self.ys, strict=True))
        return [index for index, (across, up) in pairs if is_drawable(across, x.log) and is_drawable(up, y.log)]

    def find_bounds(self, index: int, log: bool) -> tuple[float, float] | None:
        """Return the band's edges at a value, None where it has none."""
        if self.lows is None or self.highs is None:
            return None
        low, high = self.lows[index], self.highs[index]
        return (low, high) if is_drawable(low, log) and is_drawable(high, log) else None


def draw_lines(
    found: Sequence[Line],
    x: Axis,
    y: Axis,
    marks: Sequence[tuple[float, str]] = (),
    styles: Mapping[str, int] | None = None,
    width: int = WIDE,
) -> str:
    """Return the lines; a value that is not finite leaves a gap. ``marks`` are upright lines with a word on each.

    Names stand at the lines' ends, or in a key above them on a phone and where there are too many.
    """
    every = [(line, choose_style(styles, line.name, index)) for index, line in enumerate(found)]
    drawn = [(line, number) for line, number in every if line.list_drawable(x, y)]
    named: list[Named] = [(line.name, number) for line, number in drawn]
    height = width * (0.46 if width >= WIDE else 0.8)
    direct = width >= WIDE and len(drawn) * GAP <= height - 5 * LINE
    above = 0.0 if direct else measure_key(named, width)
    root = make_canvas(width, height + above, f"{y.title} against {x.title}, {len(drawn)} lines")
    margin = max((measure_text(shorten(name, width / 4)) for name, _ in named), default=0.0) + 34 if direct else 14
    outer = Box(4, 4 + above, width - margin, height + above - 6)
    if not drawn:
        draw_empty(root, outer)
        return serialise(root)
    if not direct:
        draw_key(root, named, width)
    room = 0.5 / max(len(x.names) - 1, 1) if x.names else 0.02
    place = draw_frame(root, outer, x, y, *_extents([line for line, _ in drawn], marks, x, y), room=room)
    _marks(root, [mark for mark in marks if is_drawable(mark[0], x.log)], place)
    groups = [_line(root, line, number, place, x, y) for line, number in drawn]
    if direct:
        _names(groups, [line for line, _ in drawn], place, x, y, width / 4)
    name_left_out(root, [line.name for line in found if not line.list_drawable(x, y)], outer)
    return serialise(root)


def _extents(
    drawn: Sequence[Line], marks: Sequence[tuple[float, str]], x: Axis, y: Axis
) -> tuple[list[float], list[float]]:
    kept = [(line, index) for line in drawn for index in line.list_drawable(x, y)]
    xs = [line.xs[index] for line, index in kept] + [value for value, _ in marks if is_drawable(value, x.log)]
    xs += [1.0, float(len(x.names))] if x.names else []
    ys = [value for line, index in kept for value in (line.ys[index], *(line.find_bounds(index, y.log) or ()))]
    return xs, ys


def _marks(root: Element, marks: Sequence[tuple[float, str]], place: Frame) -> None:
    """Draw upright lines, their words side by side at the top, in further rows where they would touch."""
    ends: list[float] = []  # of the words written in each row
    for value, word in sorted(marks):
        across = place.x(value)
        add(root, "line", "phase", x1=across, x2=across, y1=place.area.top - 6, y2=place.area.bottom)
        size = measure_text(word, 11.5)
        start = min(across + 5, place.area.right - size)
        row = next((row for row, end in enumerate(ends) if start > end + 8), len(ends))
        ends[row : row + 1] = [start + size]
        write(root, word, "note", start, place.area.top + 4 + row * (LINE - 2))


def _line(root: Element, line: Line, number: int, place: Frame, x: Axis, y: Axis) -> Element:
    group = add_series(root, line.name, name_colour(number))
    kept = line.list_drawable(x, y)
    corners = {index: (place.x(line.xs[index]), place.y(line.ys[index])) for index in kept}
    for run in _runs(kept):
        if not line.bars:
            _band(group, line, run, place)
        path = "M" + "L".join(f"{corners[index][0]:.1f},{corners[index][1]:.1f}" for index in run)
        add(group, "path", "hit-line", d=path)
        add(group, "path", "line", d=path, stroke_dasharray=find_dash(number) or "none")
    named = len(x.names)  # each of which is pointed at, and where there is room marked
    shown = kept if named and place.area.right - place.area.left > ROOMY * named else _thin_out(kept, MOST_MARKERS)
    for index in kept if named else _thin_out(kept, MOST_TIPS):
        point = add_target(group, line.name, _tip(line, index, x, y), "", first=index == kept[0], named=False)
        add(point, "circle", "hit", cx=corners[index][0], cy=corners[index][1], r=9)
        bounds = line.find_bounds(index, y.log) if line.bars and index in shown else None
        if bounds:
            draw_whisker(point, "bar", (place.y(bounds[0]), place.y(bounds[1])), corners[index][0], upright=True)
        if index in shown:
            draw_marker(point, number, *corners[index], 4.5)
        else:
            add(point, "circle", "dot faint", cx=corners[index][0], cy=corners[index][1], r=3.5)
        if line.xs[index] == line.chosen:
            add(point, "circle", "ring", cx=corners[index][0], cy=corners[index][1], r=10)
    return group


def _tip(line: Line, index: int, x: Axis, y: Axis) -> str:
    chosen = "\nchosen" if line.xs[index] == line.chosen else ""
    low, high = line.find_bounds(index, y.log) or (None, None)
    return f"{x.write_value(line.xs[index])}\n{y.write_value(line.ys[index], low, high)}{chosen}"


def _band(group: Element, line: Line, run: Sequence[int], place: Frame) -> None:
    edges = [(place.x(line.xs[index]), line.find_bounds(index, place.y.log)) for index in run]
    sides = [(across, place.y(edge[0]), place.y(edge[1])) for across, edge in edges if edge]
    if len(sides) > 1:
        there = [f"{across:.1f},{high:.1f}" for across, _, high in sides]
        back = [f"{across:.1f},{low:.1f}" for across, low, _ in reversed(sides)]
        add(group, "polygon", "band", points=" ".join(there + back))


def _runs(kept: Sequence[int]) -> list[list[int]]:
    """Return the stretches of neighbouring places."""
    runs: list[list[int]] = []
    for index in kept:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _thin_out(kept: Sequence[int], most: int) -> list[int]:
    """Return at most ``most`` of the places, evenly, the last one always and the first where there are two."""
    step = math.ceil((len(kept) - 1) / (most - 1)) or 1
    return sorted({*kept[:-1:step][: most - 1], kept[-1]})


def _names(groups: Sequence[Element], drawn: Sequence[Line], place: Frame, x: Axis, y: Axis, widest: float) -> None:
    """Write the names right of the lines' ends, moved apart where they would touch."""
    last = [line.list_drawable(x, y)[-1] for line in drawn]
    ends = [(place.x(line.xs[index]), place.y(line.ys[index])) for line, index in zip(drawn, last, strict=True)]
    heights = spread([up for _, up in ends], GAP, place.area.top, place.area.bottom)
    column = place.area.right + 24
    for group, line, (across, up), height in zip(groups, drawn, ends, heights, strict=True):
        add(
            group,
            "path",
            "leader",
            d=f"M{across + 7:.1f},{up:.1f}H{max(across + 7, column - 14):.1f}L{column - 4},{height:.1f}",
        )
        write(group, shorten(line.name, widest), "name", column, height + 4.5)
