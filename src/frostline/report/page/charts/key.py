"""The key of a chart: every name with the line and the marker that stand for it."""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from frostline.report.page.charts.marks import draw_marker, find_dash, name_colour
from frostline.report.page.charts.svg import add, add_series, measure_text, shorten, write

Named = tuple[str, int]  # with its style number
SAMPLE = 30.0
ROW = 20.0


def measure_key(named: Sequence[Named], width: float) -> float:
    """Return how high a key of this width is."""
    return max((top for _, _, top in _entries(named, width)), default=-ROW) + ROW + 8


def draw_key(root: Element, named: Sequence[Named], width: float, lines: bool = True) -> None:
    """Draw the key at the top of a chart; without ``lines`` its markers alone."""
    for (name, style), left, top in _entries(named, width):
        group = add_series(root, name, f"key {name_colour(style)}")
        line = top + ROW / 2 + 2
        if lines:
            ends = {"x1": left, "x2": left + SAMPLE - 6, "y1": line, "y2": line}
            add(group, "line", "line", **ends, stroke_dasharray=find_dash(style) or "none")
        draw_marker(group, style, left + (SAMPLE - 6) / 2, line, 4.5)
        write(group, shorten(name, width - SAMPLE - 8), "name", left + SAMPLE, line + 4.5)


def _entries(named: Sequence[Named], width: float) -> Iterator[tuple[Named, float, float]]:
    """Yield every name with its left and top, in rows of the chart's width."""
    left, top = 4.0, 0.0
    for name, style in named:
        size = SAMPLE + measure_text(shorten(name, width - SAMPLE - 8)) + 14
        if left > 4 and left + size - 14 > width:
            left, top = 4.0, top + ROW
        yield (name, style), left, top
        left += size
