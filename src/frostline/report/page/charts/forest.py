"""A forest plot: each strategy's difference with its interval, and the line of no difference."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from xml.etree.ElementTree import Element

from frostline.report.page.charts.frame import Axis, draw_base, draw_empty
from frostline.report.page.charts.marks import choose_style, draw_marker, draw_whisker, name_colour
from frostline.report.page.charts.place import Box
from frostline.report.page.charts.scale import Scale, is_drawable, make_scale, write_decimal, write_number
from frostline.report.page.charts.svg import WIDE, add, add_target, make_canvas, measure_text, serialise, shorten, write


@dataclass(frozen=True)
class Bar:
    """A value with its interval; without a finite ``low`` and ``high`` the value stands alone."""

    name: str
    centre: float
    low: float
    high: float
    tip: str = ""

    @property
    def bounds(self) -> tuple[float, float] | None:
        return (self.low, self.high) if is_drawable(self.low) and is_drawable(self.high) else None


def draw_intervals(
    found: Sequence[Bar], x: Axis, zero: bool, styles: Mapping[str, int] | None = None, width: int = WIDE
) -> str:
    """Return the bars from top to bottom, on a linear axis; with ``zero`` the line of no difference is drawn on it.

    On a phone a name and its numbers stand above the bar instead of beside it.
    """
    assert not x.log
    wide = width >= WIDE
    step = 32 if wide else 46
    height = 10 + step * max(len(found), 1) + 46
    root = make_canvas(width, height, f"{x.title}: {len(found)} intervals")
    if not any(is_drawable(bar.centre) for bar in found):
        draw_empty(root, Box(4, 4, width - 4, height))
        return serialise(root)
    names = max(measure_text(shorten(bar.name, width * 0.3)) for bar in found)
    texts = _texts(found)
    numbers = max(map(measure_text, texts))
    area = Box(names + 24 if wide else 10, 6, width - numbers - 24 if wide else width - 10, 6 + step * len(found))
    across = make_scale(_values(found, zero), area.left, area.right, room=0.04)
    draw_base(root, area, across, x, grid=True)
    if zero:
        add(root, "line", "zero", x1=across(0), x2=across(0), y1=area.top, y2=area.bottom)
    for index, (bar, text) in enumerate(zip(found, texts, strict=True)):
        row = Box(0, area.top + step * index, width, area.top + step * (index + 1))
        group = _row(root, bar, text, choose_style(styles, bar.name, index), row, wide, x)
        if is_drawable(bar.centre):
            _bar(
                group,
                bar,
                choose_style(styles, bar.name, index),
                across,
                row.bottom - 13 if not wide else (row.top + row.bottom) / 2,
            )
    return serialise(root)


def _values(found: Sequence[Bar], zero: bool) -> list[float]:
    return [value for bar in found for value in (bar.centre, *(bar.bounds or ()))] + [0.0] * zero


def _texts(found: Sequence[Bar]) -> list[str]:
    """Return the numbers beside the bars, all with as many decimals."""
    largest = max((abs(value) for value in _values(found, zero=False) if is_drawable(value)), default=0.0)
    if not 1e-3 <= largest < 1e4:
        return [_text(bar, write_number) for bar in found]
    decimals = 3 if largest < 1 else max(0, 2 - math.ceil(math.log10(largest)))
    return [_text(bar, partial(write_decimal, decimals=decimals)) for bar in found]


def _text(bar: Bar, written: Callable[[float], str]) -> str:
    if not is_drawable(bar.centre):
        return "\u2013"
    bounds = f" [{written(bar.bounds[0])}, {written(bar.bounds[1])}]" if bar.bounds else ""
    return f"{written(bar.centre)}{bounds}"


def _row(root: Element, bar: Bar, text: str, style: int, row: Box, wide: bool, x: Axis) -> Element:
    said = x.write_value(bar.centre, *(bar.bounds or (None, None))) if is_drawable(bar.centre) else "no value"
    group = add_target(root, bar.name, f"{said}\n{bar.tip}".strip(), name_colour(style))
    add(group, "rect", "hit row", x=row.left, y=row.top, width=row.right, height=row.bottom - row.top)
    line = (row.top + row.bottom) / 2 + 4.5 if wide else row.top + 17
    write(group, shorten(bar.name, row.right * (0.3 if wide else 0.5)), "name", 4, line)
    write(group, text, "number", row.right - 4, line, text_anchor="end")
    return group


def _bar(group: Element, bar: Bar, style: int, across: Scale, line: float) -> None:
    if bar.bounds:
        draw_whisker(group, "bar heavy", (across(bar.low), across(bar.high)), line, cap=5)
    draw_marker(group, style, across(bar.centre), line, 6.5)
