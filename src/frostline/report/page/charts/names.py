"""Names below a horizontal axis: side by side where they fit, else tilted, and of very many every second, third ..."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from xml.etree.ElementTree import Element

from frostline.report.page.charts.place import Box
from frostline.report.page.charts.scale import Scale
from frostline.report.page.charts.svg import LINE, add, measure_text, shorten, write

TILT = 0.71  # the sine and cosine of 45 degrees
APART = 18.0  # between the beginnings of tilted names
LONGEST = 130.0
BETWEEN = 12.0  # names side by side


@dataclass(frozen=True)
class Naming:
    """Which places of an axis have their names below it, those names, and how high they are.

    ``left`` is how much room they take left of the place of a name that would come before the first.
    """

    places: Sequence[int]
    texts: Sequence[str]
    tilted: bool
    height: float
    left: float = 0.0


def fit_names(names: Sequence[str], wanted: Sequence[int], width: float) -> Naming:
    """Return the names that stand below an axis of about this width: all, or those ``wanted`` and what fits between.

    Of ``wanted``, places from 0, the last ones are left out where they would touch the first. What all names that
    have several parts begin with is left out of them: it tells none from another.
    """
    texts = strip_common(names)
    step = width / max(len(texts), 1)
    if max(map(measure_text, texts), default=0.0) + BETWEEN <= step:
        return Naming(range(len(texts)), texts, False, LINE)
    every = math.ceil(APART / step)
    places: list[int] = []
    for place in (*wanted, *range(len(texts) - 1, -1, -every), *range(len(texts))):
        if all(abs(place - other) >= every for other in places):
            places.append(place)
    places.sort()
    kept = [_shorten_start(texts[place], min(LONGEST, width / 4)) for place in places]
    sizes = [TILT * measure_text(text) for text in kept]
    left = max(size - place * step for place, size in zip(places, sizes, strict=True))  # a name ends below its place
    return Naming(places, kept, True, max(sizes) + TILT * LINE, left)


def draw_names(root: Element, naming: Naming, wanted: Sequence[int], area: Box, across: Scale) -> None:
    """Write the names below ``area``, each at its place, 1 for the first, and those ``wanted`` darker."""
    for place, text in zip(naming.places, naming.texts, strict=True):
        kind, x, y = "axis" if place in wanted else "tick", across(place + 1), area.bottom
        add(root, "line", "base", x1=x, x2=x, y1=y, y2=y + 5)
        if naming.tilted:
            turned = f"rotate(-45 {x + 4:.1f} {y + 14:.1f})"
            write(root, text, kind, x + 4, y + 14, text_anchor="end", transform=turned)
        else:
            write(root, text, kind, x, y + 20, text_anchor="middle")


def strip_common(names: Sequence[str]) -> list[str]:
    """Return names without the parts, up to a dot, that all names of several parts begin with."""
    split = [name.split(".") for name in names]
    several = [parts[:-1] for parts in split if len(parts) > 1]
    common = len(commonprefix(several)) if len(several) > 1 else 0  # type: ignore[type-var]
    return [".".join(parts[common:] if len(parts) > 1 else parts) for parts in split]


def _shorten_start(text: str, width: float) -> str:
    """Return ``text``, its start replaced by an ellipsis where it is too wide: what tells taps apart stands last."""
    return shorten(text[::-1], width)[::-1]
