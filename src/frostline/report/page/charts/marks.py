"""A strategy's looks, the same in every chart: a colour, a marker and a dash, as no colour alone tells two apart."""

import math
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from frostline.report.page.charts.svg import add, serialise

COLOURS = 8  # as many as chart.css has, .s0 to .s7
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "5 2 2 2 2 2", "3 6")
Outline = Sequence[tuple[float, float]]


def choose_style(styles: Mapping[str, int] | None, name: str, place: int) -> int:
    """Return a name's style number: that of ``styles``, for an unknown name its place in the chart after those."""
    if styles is None:
        return place
    return styles[name] if name in styles else len(styles) + place


def name_colour(style: int) -> str:
    """Return the CSS class that sets a style's colour."""
    return f"s{style % COLOURS}"


def find_dash(style: int) -> str:
    """Return a style's stroke-dasharray, empty for a line without gaps."""
    return DASHES[style % len(DASHES)]


def draw_marker(parent: Element, style: int, x: float, y: float, size: float = 6.5, kind: str = "dot") -> None:
    """Append a style's marker around a point; ``size`` is about its radius."""
    shape = SHAPES[style % len(SHAPES)]
    if shape is None:
        add(parent, "circle", kind, cx=x, cy=y, r=size * 0.92)
        return
    points = " ".join(f"{x + size * across:.2f},{y + size * along:.2f}" for across, along in shape)
    add(parent, "polygon", kind, points=points)


def draw_whisker(
    parent: Element, kind: str, ends: tuple[float, float], middle: float, upright: bool = False, cap: float = 4
) -> None:
    """Append an error bar with caps, level at the height ``middle``, or upright at that place across."""
    start, end = ends
    if upright:
        path = f"M{middle - cap:.1f},{start:.1f}h{2 * cap}m{-cap},0V{end:.1f}m{-cap},0h{2 * cap}"
    else:
        path = f"M{start:.1f},{middle - cap:.1f}v{2 * cap}m0,{-cap}H{end:.1f}m0,{-cap}v{2 * cap}"
    add(parent, "path", kind, d=path)


def draw_swatch(style: int) -> str:
    """Return a style's marker as a small <svg> for a line of text."""
    root = Element("svg", {"class": f"swatch {name_colour(style)}", "viewBox": "-8 -8 16 16", "aria-hidden": "true"})
    draw_marker(root, style, 0, 0)
    return serialise(root)


def _star(corners: int, inner: float, turn: float = 0.0, outer: float = 1.15) -> Outline:
    """Return a star, or with ``inner`` 1 a regular polygon, that points upwards but for ``turn`` degrees."""
    steps = corners * (1 if inner == 1 else 2)
    radii = [outer if inner == 1 or not step % 2 else outer * inner for step in range(steps)]
    angles = [math.radians(turn - 90 + 360 * step / steps) for step in range(steps)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in zip(radii, angles, strict=True)]


def _plus(turn: float) -> Outline:
    arm, wide = 1.12, 0.4
    corners = [(-wide, -arm), (wide, -arm), (wide, -wide), (arm, -wide), (arm, wide), (wide, wide)]
    corners += [(-across, -along) for across, along in corners]
    sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    return [(across * cosine - along * sine, across * sine + along * cosine) for across, along in corners]


SHAPES: tuple[Outline | None, ...] = (
    None,  # a circle
    _star(4, 1, turn=45, outer=1.22),  # a square
    _star(3, 1, outer=1.25),
    _star(4, 1, outer=1.25),  # a diamond
    _star(3, 1, turn=180, outer=1.25),
    _plus(0),
    _plus(45),
    _star(5, 0.42, outer=1.4),
    _star(6, 1),
)
