"""A forest plot: each strategy's difference with its interval, and the line of no difference."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from xml.etree.ElementTree import Element

from frostline.report.page.charts.frame import Axis, base, nothing
from frostline.report.page.charts.marks import colour, look, marker, whisker
from frostline.report.page.charts.place import Box
from frostline.report.page.charts.scale import Scale, decimal, drawable, scale, write_number
from frostline.report.page.charts.svg import WIDE, add, canvas, serialise, shorten, target, text_width, write


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
        return (self.low, self.high) if drawable(self.low) and drawable(self.high) else None


def intervals(
    found: Sequence[Bar], x: Axis, zero: bool, styles: Mapping[str, int] | None = None, width: int = WIDE
) -> str:
    """Return the bars from top to bottom, on a linear axis; with ``zero`` the line of no difference is drawn on it.

    On a phone a name and its numbers stand above the bar instead of beside it.
    """
    assert not x.log
    wide = width >= WIDE
    step = 32 if wide else 46
    height = 10 + step * max(len(found), 1) + 46
    root = canvas(width, height, f"{x.title}: {len(found)} intervals")
    if not any(drawable(bar.centre) for bar in found):
        nothing(root, Box(4, 4, width - 4, height))
        return serialise(root)
    names = max(text_width(shorten(bar.name, width * 0.3)) for bar in found)
    texts = _texts(found)
    numbers = max(map(text_width, texts))
    area = Box(names + 24 if wide else 10, 6, width - numbers - 24 if wide else width - 10, 6 + step * len(found))
    across = scale(_values(found, zero), area.left, area.right, room=0.04)
    base(root, area, across, x, grid=True)
    if zero:
        add(root, "line", "zero", x1=across(0), x2=across(0), y1=area.top, y2=area.bottom)
    for index, (bar, text) in enumerate(zip(found, texts, strict=True)):
        row = Box(0, area.top + step * index, width, area.top + step * (index + 1))
        group = _row(root, bar, text, look(styles, bar.name, index), row, wide, x)
        if drawable(bar.centre):
            _bar(
                group,
                bar,
                look(styles, bar.name, index),
                across,
                row.bottom - 13 if not wide else (row.top + row.bottom) / 2,
            )
    return serialise(root)


def _values(found: Sequence[Bar], zero: bool) -> list[float]:
    return [value for bar in found for value in (bar.centre, *(bar.bounds or ()))] + [0.0] * zero


def _texts(found: Sequence[Bar]) -> list[str]:
    """Return the numbers beside the bars, all with as many decimals."""
    largest = max((abs(value) for value in _values(found, zero=False) if drawable(value)), default=0.0)
    if not 1e-3 <= largest < 1e4:
        return [_text(bar, write_number) for bar in found]
    decimals = 3 if largest < 1 else max(0, 2 - math.ceil(math.log10(largest)))
    return [_text(bar, partial(decimal, decimals=decimals)) for bar in found]


def _text(bar: Bar, written: Callable[[float], str]) -> str:
    if not drawable(bar.centre):
        return "\u2013"
    bounds = f" [{written(bar.bounds[0])}, {written(bar.bounds[1])}]" if bar.bounds else ""
    return f"{written(bar.centre)}{bounds}"


def _row(root: Element, bar: Bar, text: str, style: int, row: Box, wide: bool, x: Axis) -> Element:
    said = x.says(bar.centre, *(bar.bounds or (None, None))) if drawable(bar.centre) else "no value"
    group = target(root, bar.name, f"{said}\n{bar.tip}".strip(), colour(style))
    add(group, "rect", "hit row", x=row.left, y=row.top, width=row.right, height=row.bottom - row.top)
    line = (row.top + row.bottom) / 2 + 4.5 if wide else row.top + 17
    write(group, shorten(bar.name, row.right * (0.3 if wide else 0.5)), "name", 4, line)
    write(group, text, "number", row.right - 4, line, text_anchor="end")
    return group


def _bar(group: Element, bar: Bar, style: int, across: Scale, line: float) -> None:
    if bar.bounds:
        whisker(group, "bar heavy", (across(bar.low), across(bar.high)), line, cap=5)
    marker(group, style, across(bar.centre), line, 6.5)
