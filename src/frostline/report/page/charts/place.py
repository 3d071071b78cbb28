"""Where names go: boxes on paper, and the nearest place for a name that hides nothing."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

NEAR = 14.0  # between a point and its name, beyond which a line joins them
RADII = (9, 13, 18, 25, 34, 46, 60, 78, 100, 125, 150)
ANGLES = (0, 180, 45, 135, 315, 225, 90, 270, 22, 158, 338, 202, 68, 112, 292, 248)


class Box(NamedTuple):
    """A rectangle on paper; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def measure_overlap(self, other: "Box") -> float:
        """Return the area that two boxes share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0

    def holds(self, other: "Box") -> bool:
        """Return whether another box lies within this one."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


class Segment(NamedTuple):
    """A straight line on paper."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def length(self) -> float:
        return math.hypot(self.x1 - self.x0, self.y1 - self.y0)

    def widen(self, room: float) -> Box:
        """Return the box that a level or an upright line fills, with ``room`` around it."""
        left, right = sorted((self.x0, self.x1))
        top, bottom = sorted((self.y0, self.y1))
        return Box(left - room, top - room, right + room, bottom + room)

    def measure_within(self, box: Box) -> float:
        """Return the length of the part that lies in ``box`` (Liang & Barsky 1984)."""
        start, end = 0.0, 1.0
        across, along = self.x1 - self.x0, self.y1 - self.y0
        for step, low, high in (
            (across, box.left - self.x0, box.right - self.x0),
            (along, box.top - self.y0, box.bottom - self.y0),
        ):
            if step == 0:
                if low > 0 or high < 0:
                    return 0.0
                continue
            near, far = sorted((low / step, high / step))
            start, end = max(start, near), min(end, far)
        return max(end - start, 0.0) * self.length


def find_free_box(
    centre: tuple[float, float], size: tuple[float, float], own: Sequence[Box], others: Sequence[Box], inside: Box
) -> Box:
    """Return the first box of this size, going outwards from ``centre``, that is free; else the one that hides least.

    A name hides neither its ``own`` marker and bars nor ``others``; the line to it may cross the former.
    """
    best, least = Box(centre[0], centre[1], centre[0] + size[0], centre[1] + size[1]), math.inf
    for box in _places(centre, *size):
        if not inside.holds(box):
            continue
        hidden = sum(box.measure_overlap(other) for other in own) + sum(box.measure_overlap(other) for other in others)
        line = find_name_line(centre, box)
        if line:
            hidden += 10 * sum(line.measure_within(other) for other in others)
        if hidden == 0:
            return box
        if hidden < least:
            best, least = box, hidden
    return best


def find_name_line(centre: tuple[float, float], box: Box) -> Segment | None:
    """Return the line from a point to its name; None where the two are near."""
    x = min(max(centre[0], box.left), box.right)
    y = min(max(centre[1], box.top), box.bottom)
    length = math.hypot(x - centre[0], y - centre[1])
    if length <= NEAR:
        return None
    share = 9 / length
    return Segment(centre[0] + share * (x - centre[0]), centre[1] + share * (y - centre[1]), x, y)


def _places(centre: tuple[float, float], width: float, height: float) -> Iterator[Box]:
    """Yield places for a name around a point, nearest first: right, left, then the diagonals, above and below."""
    for radius in RADII:
        for angle in ANGLES:
            across, along = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
            left = centre[0] + radius * across - width * (1 - across) / 2
            top = centre[1] + radius * along - height * (1 - along) / 2
            yield Box(left, top, left + width, top + height)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places moved as little as possible (in squares) so that neighbours are ``gap`` apart, in the same order.

    They stay from ``low`` to ``high`` where there is room for all there, and else begin at ``low``. Less the gaps
    before them the places must not fall, which is isotonic regression.
    """
    order = np.argsort(places, kind="stable")
    gaps = gap * np.arange(len(places))
    moved = np.empty(len(places))
    ceiling = max(high - gap * (len(places) - 1), low)
    moved[order] = isotonic_regression(np.asarray(places)[order] - gaps).x.clip(low, ceiling) + gaps
    return moved.tolist()
