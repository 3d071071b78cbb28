"""A heat map with the number in every cell: confusions, and strategies by groups."""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from frostline.report.page.charts.frame import draw_empty
from frostline.report.page.charts.marks import choose_style, draw_marker, name_colour
from frostline.report.page.charts.names import TILT
from frostline.report.page.charts.place import Box
from frostline.report.page.charts.scale import is_drawable, write_minus
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

SHADES = 9  # as many as chart.css has, .h0 to .h8


def draw_matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    form: str = ".2f",
    title: str = "",
    styles: Mapping[str, int] | None = None,
    width: int = WIDE,
) -> str:
    """Return the values as cells, shaded from the least (half the largest at most) to the largest; None stays empty.

    ``form`` formats numbers, which are left out where a cell is too small for them. With ``styles`` the rows are
    strategies: they have their markers and light up with the page's other charts.
    """
    assert len(values) == len(rows) and all(len(line) == len(columns) for line in values)
    if not rows or not columns:
        root = make_canvas(width, 80, title or "heat map")
        draw_empty(root, Box(0, 0, width, 80))
        return serialise(root)
    texts = [[_write_value(value, form) for value in line] for line in values]
    left, cell = _sizes(rows, columns, texts, styles is not None, width)
    heads = [shorten(name, 110) for name in columns]
    tilted = any(measure_text(head) > cell[0] - 4 for head in heads)
    top = (22 if title else 4) + (TILT * max(map(measure_text, heads)) + 14 if tilted else LINE + 6)
    root = make_canvas(width, top + cell[1] * len(rows) + 4, title or f"{len(rows)} by {len(columns)} values")
    if title:
        write(root, title, "axis", 4, 14)
    _heads(root, heads, left, top, cell[0], tilted)
    shades = _shades(values)
    for index, name in enumerate(rows):
        box = Box(left, top + index * cell[1], left + cell[0], top + (index + 1) * cell[1])
        group = _row(root, name, None if styles is None else choose_style(styles, name, index), box)
        cells = zip(columns, texts[index], shades[index], strict=True)
        for place, (column, text, shade) in enumerate(cells):
            _cell(group, (name, column), text, shade, box, place, (index, place) == (0, 0))
    return serialise(root)


def _write_value(value: float | None, form: str) -> str:
    return write_minus(format(value, form)) if value is not None and is_drawable(value) else ""


def _sizes(
    rows: Sequence[str], columns: Sequence[str], texts: Sequence[Sequence[str]], marked: bool, width: int
) -> tuple[float, tuple[float, float]]:
    """Return where the cells begin, and a cell's width and height."""
    left = max(measure_text(shorten(name, width * 0.28)) for name in rows) + 16 + 18 * marked
    longest = max(measure_text(text) for line in texts for text in line)
    across = min((width - left - 40) / len(columns), max(longest + 18, 80.0 if marked else 44.0))
    return left, (across, max(min(across, 32.0), LINE))


def _heads(root: Element, heads: Sequence[str], left: float, top: float, cell: float, tilted: bool) -> None:
    for index, head in enumerate(heads):
        middle = left + (index + 0.5) * cell
        if tilted:
            write(root, head, "tick", middle, top - 8, transform=f"rotate(-45 {middle:.1f} {top - 8:.1f})")
        else:
            write(root, head, "tick", middle, top - 8, text_anchor="middle")


def _shades(values: Sequence[Sequence[float | None]]) -> list[list[int | None]]:
    """Return each value's shade, None for what cannot be drawn."""
    known = [value for line in values for value in line if value is not None and is_drawable(value)]
    high = max(known, default=0.0)
    low = min([high / 2, *known])
    span = high - low or 1.0
    return [
        [
            None if value is None or not is_drawable(value) else round((value - low) / span * (SHADES - 1))
            for value in line
        ]
        for line in values
    ]


def _row(root: Element, name: str, style: int | None, box: Box) -> Element:
    group = add(root, "g", "row") if style is None else add_series(root, name, name_colour(style))
    line = (box.top + box.bottom) / 2
    if style is not None:
        draw_marker(group, style, 10, line, 5.5)
    start = 4 if style is None else 22
    write(group, shorten(name, box.left - start - 6), "tick" if style is None else "name", start, line + 4.5)
    return group


def _cell(
    row: Element, names: tuple[str, str], text: str, shade: int | None, first: Box, place: int, tab: bool
) -> None:
    step = first.right - first.left
    left, height = first.left + place * step, first.bottom - first.top
    group = add_target(row, names[0], f"{names[1]}: {text or 'no value'}", "cell", tab, False)
    gap = 1.0 if step > 12 else 0.25
    kind = "h-none" if shade is None else f"h{shade}"
    add(group, "rect", kind, x=left + gap, y=first.top + gap, width=step - 2 * gap, height=height - 2 * gap, rx=2 * gap)
    middle, line = left + step / 2, first.top + height / 2
    if shade is None:
        add(group, "line", "none", x1=middle - 4, x2=middle + 4, y1=line, y2=line)
    elif measure_text(text, 12) <= step - 4:
        write(group, text, f"in-h{shade}", middle, line + 4.5, text_anchor="middle")
    elif measure_text(text, 10) <= step - 2:
        write(group, text, f"in-h{shade} small", middle, line + 3.5, text_anchor="middle")
