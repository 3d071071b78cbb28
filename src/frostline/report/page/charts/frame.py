"""The frame of a chart with two axes: its scales, grid, ticks and titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from frostline.report.page.charts.names import draw_names, fit_names
from frostline.report.page.charts.place import Box
from frostline.report.page.charts.scale import Scale, make_scale, write_number, write_ticks
from frostline.report.page.charts.svg import LINE, add, measure_text, write

BETWEEN = 46.0  # units between two ticks of the vertical axis


@dataclass(frozen=True)
class Axis:
    """What an axis shows; values of a logarithmic one must be positive, others are left out and named.

    Across, one of ``whole`` numbers has no ticks between them, and one with ``names`` has these at 1, 2, ... instead,
    those of ``wanted`` (from 0) before all.
    """

    title: str
    log: bool = False
    whole: bool = False
    names: Sequence[str] = ()
    wanted: Sequence[int] = ()

    def write_value(self, value: float, low: float | None = None, high: float | None = None) -> str:
        """Return the text for a value, with its range, in a tip."""
        if self.names:
            return f"{self.title}: {self.names[round(value) - 1]}"
        spread = "" if low is None or high is None else f" ({write_number(low)} to {write_number(high)})"
        return f"{self.title}: {write_number(value)}{spread}"


@dataclass(frozen=True)
class Frame:
    """Where values go: ``area`` is what the axes enclose."""

    area: Box
    x: Scale
    y: Scale


def draw_frame(
    root: Element, outer: Box, x: Axis, y: Axis, xs: Sequence[float], ys: Sequence[float], room: float = 0.06
) -> Frame:
    """Draw axes for the values ``xs`` and ``ys`` into ``outer`` and return the area between them.

    ``room`` is the share of the horizontal span that is left free at either side.
    """
    naming = fit_names(x.names, x.wanted, outer.right - outer.left - BETWEEN) if x.names else None
    top, bottom = outer.top + 1.6 * LINE, outer.bottom - 2.8 * LINE
    bottom -= naming.height - LINE if naming else 0
    up = make_scale(ys, bottom, top, y.log, 0.08)
    ticks = up.list_ticks(max(int((bottom - top) / BETWEEN), 2))
    texts = write_ticks(ticks, y.log)
    left = outer.left + max(max(map(measure_text, texts), default=0.0) + 10, naming.left if naming else 0)
    across = make_scale(xs, left, outer.right, x.log, room)
    area = Box(left, top, outer.right, bottom)
    write(root, y.title, "axis", outer.left, outer.top + 12)
    for tick, text in zip(ticks, texts, strict=True):
        add(root, "line", "grid", x1=left, x2=outer.right, y1=up(tick), y2=up(tick))
        write(root, text, "tick", left - 8, up(tick) + 4.5, text_anchor="end")
    if naming:
        add(root, "line", "base", x1=area.left, x2=area.right, y1=area.bottom, y2=area.bottom)
        draw_names(root, naming, x.wanted, area, across)
        write(root, x.title, "axis", area.right, outer.bottom - 6, text_anchor="end")
    else:
        draw_base(root, area, across, x)
    return Frame(area, across, up)


def draw_base(root: Element, area: Box, across: Scale, axis: Axis, grid: bool = False) -> None:
    """Draw a horizontal axis below ``area``: its line, ticks and title, and on demand a grid."""
    add(root, "line", "base", x1=area.left, x2=area.right, y1=area.bottom, y2=area.bottom)
    ticks, texts = choose_ticks(across, axis)
    for tick, text in zip(ticks, texts, strict=True):
        place = across(tick)
        add(root, "line", "grid" if grid else "base", x1=place, x2=place, y1=area.top if grid else area.bottom,
            y2=area.bottom + 5)  # fmt: skip
        half = measure_text(text) / 2
        middle = min(place, max(area.right, place) - half + 8) if place + half > area.right + 8 else place
        write(root, text, "tick", middle, area.bottom + 20, text_anchor="middle")
    write(root, axis.title, "axis", area.right, area.bottom + 39, text_anchor="end")


def choose_ticks(across: Scale, axis: Axis) -> tuple[list[float], list[str]]:
    """Return the most ticks of a horizontal axis, with their texts, that fit beside each other without touching."""
    for most in (10, 8, 6, 5, 4, 3):
        ticks = [tick for tick in across.list_ticks(most) if not axis.whole or tick == round(tick)]
        texts = write_ticks(ticks, axis.log)
        ends = [(across(tick), measure_text(text) / 2) for tick, text in zip(ticks, texts, strict=True)]
        gaps = [right[0] - left[0] - left[1] - right[1] for left, right in zip(ends, ends[1:], strict=False)]
        if all(gap >= 12 for gap in gaps):
            return ticks, texts
    return ticks[:1], texts[:1]


def name_left_out(root: Element, names: Sequence[str], outer: Box) -> None:
    """Name, below the chart, what cannot be drawn in it."""
    if names:
        shown = ", ".join(dict.fromkeys(names))
        write(root, f"Not drawn, for want of a number: {shown}", "note", outer.left, outer.bottom)


def draw_empty(root: Element, outer: Box) -> None:
    """Say that there is nothing to draw."""
    middle = (outer.left + outer.right) / 2
    write(root, "Nothing to draw yet", "note", middle, (outer.top + outer.bottom) / 2, text_anchor="middle")
