"""From values to places on paper: linear and logarithmic scales, their ticks, and how numbers are written."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from frostline.units import format_compact

LARGEST = 1e99


@dataclass(frozen=True)
class Scale:
    """Maps values from ``low`` to ``high`` onto places from ``start`` to ``end``; ``low`` is positive if ``log``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, here = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def list_ticks(self, most: int) -> list[float]:
        """Return at most ``most`` round values, and two at least wherever there are two."""
        if not self.log:
            return list_linear_ticks(self.low, self.high, most)
        found = list_log_ticks(self.low, self.high, most)
        return found if len(found) >= 2 else list_linear_ticks(self.low, self.high, most)


def make_scale(values: Iterable[float], start: float, end: float, log: bool = False, room: float = 0.06) -> Scale:
    """Return a scale over the finite ``values`` with some ``room`` (a share of their span) on both sides.

    Values that are never negative get no negative axis. A single value stands in the middle.
    """
    found = [value for value in values if is_drawable(value, log)] or [1.0 if log else 0.0]
    low, high = (math.log10(v) if log else v for v in (min(found), max(found)))
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1 / LARGEST):
        pad = 0.15 if log else abs(low) * 0.1 or 0.5
    else:
        pad = (high - low) * room
    if log:
        return Scale(10 ** (low - pad), 10 ** (high + pad), start, end, log)
    return Scale(max(low - pad, 0.0) if low >= 0 else low - pad, high + pad, start, end)


def is_drawable(value: float | None, log: bool = False) -> bool:
    """Return whether a value has a place on an axis, where beyond 1e99 even an axis' ends would be no numbers."""
    return value is not None and abs(value) <= LARGEST and (value >= 1 / LARGEST or not log)


def list_linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Return the multiples of 1, 2, 2.5 or 5 times a power of ten from ``low`` to ``high``, at most ``most``."""
    power = math.floor(math.log10((high - low) / max(most, 1))) - 1
    for exponent in range(power, power + 4):
        for digit in (1.0, 2.0, 2.5, 5.0):
            step = digit * 10.0**exponent
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            if last - first < most:
                return [round(count * step, 12 - exponent) for count in range(first, last + 1)]
    raise AssertionError("a step of a thousand times the finest one fits any axis")


def list_log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten, with 2 and 5 times those where there is room; of many powers every second, third ..."""
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    for digits in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        found = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def write_ticks(ticks: Sequence[float], log: bool = False) -> list[str]:
    """Return ticks as text; those of a linear axis all with as many decimals as one of them needs."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    if log or largest >= 1e4 or largest < 1e-3:
        return [write_number(tick, 12, thousands=1e3 if largest >= 1e4 else 1e4) for tick in ticks]
    decimals = max(len(f"{tick:.9f}".rstrip("0").partition(".")[2]) for tick in ticks)
    return [write_decimal(tick, decimals) for tick in ticks]


def write_number(value: float, digits: int = 3, thousands: float = 1e4) -> str:
    """Return a number as it stands in a chart: 0.912, 4.01M, 1e-4, with a real minus sign."""
    return write_minus(format_compact(value, digits, thousands))


def write_decimal(value: float, decimals: int) -> str:
    """Return a number with so many decimals and a real minus sign."""
    return write_minus(f"{value:.{decimals}f}")


def write_minus(text: str) -> str:
    """Return ``text`` with typographic minus signs."""
    return text.replace("-", "\u2212")
