"""Numbers as people read them, each with its unit, and names in a row."""

import math
from collections.abc import Sequence

PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
NONE = "-"


def format_score(value: float | None, sign: str = "") -> str:
    """Return a score, or the end of its interval, to three places; what is in thousands, as errors may be, to none."""
    return NONE if value is None else f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign}.3f}"


def format_difference(value: float | None) -> str:
    """Return a difference of scores with its sign."""
    return format_score(value, "+")


def format_interval(low: float, high: float, sign: str = "") -> str:
    """Return an interval of scores as its two ends."""
    return f"[{format_score(low, sign)}, {format_score(high, sign)}]"


def format_probability(value: float | None) -> str:
    """Return a p-value; one that is too small to say is below a bound."""
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_duration(value: float | None, decimals: int = 1) -> str:
    """Return a number of seconds as people say it: 12.3 s, 3 min 05 s, 1 h 02 min."""
    if value is None:
        return NONE
    if abs(round(value, decimals)) < 100:
        return f"{value:.{decimals}f} s"
    minutes, rest = divmod(round(abs(value)), 60)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if value < 0 else ""
    return f"{sign}{hours} h {minutes:02d} min" if hours else f"{sign}{minutes} min {rest:02d} s"


def format_with_prefix(value: float | None, unit: str) -> str:
    """Return a quantity to three digits with the prefix of its unit: 1.28 GB, 3.41 TFLOP."""
    if value is None:
        return NONE
    return " ".join(_scale(value, 3, 1e3, unit))


def format_compact(value: float, digits: int = 3, thousands: float = 1e3) -> str:
    """Return a number of things to so many digits: 0.912, 512, 4.01M, 1e-4; with a suffix from ``thousands`` on."""
    if not math.isfinite(value):
        return str(value)
    if 0 < abs(value) < 1e-3 or abs(value) >= 1e15:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return "".join(_scale(value, digits, thousands, ""))


def _scale(value: float, digits: int, thousands: float, unit: str) -> tuple[str, str]:
    """Return a value and its unit, with the unit's prefix from ``thousands`` on; whole numbers are whole below."""
    rounded = float(f"{value:.{digits}g}")
    for size, prefix in PREFIXES:
        if abs(rounded) >= max(size, thousands):
            return f"{rounded / size:.12g}", prefix + unit
    return f"{value:.0f}" if abs(rounded) >= 1e3 else f"{rounded:.12g}", unit


def format_bytes(value: float | None) -> str:
    """Return a number of bytes: 12.3 MB."""
    return format_with_prefix(value, "B")


def format_flops(value: float | None) -> str:
    """Return a number of floating-point operations."""
    return format_with_prefix(value, "FLOP")


def format_number(value: float | None) -> str:
    """Return a whole number with its thousands apart."""
    return NONE if value is None else f"{value:,.0f}"


def format_rate(value: float | None) -> str:
    """Return a learning rate."""
    return NONE if value is None else f"{value:g}"


def join_names(names: Sequence[object], most: int = 10, between: str = ", ") -> str:
    """Return names in a row, or lines; of many the first, and how many more."""
    more = [f"and {len(names) - most:,} more"] if len(names) > most else []
    return between.join([*map(str, names[:most]), *more])


def join_lines(lines: Sequence[object], most: int = 10) -> str:
    """Return lines in a row, as ``join_names`` does."""
    return join_names(lines, most, "; ")


def format_count(number: int, thing: str, things: str | None = None) -> str:
    """Return how many of a thing: 1 run, 2 runs."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
