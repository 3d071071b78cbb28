"""A depth profile: what a network knows at each of its taps, read in several ways, and the joined head beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frostline.report.page.charts.curves import Line, draw_lines
from frostline.report.page.charts.forest import Bar
from frostline.report.page.charts.frame import Axis
from frostline.report.page.charts.scale import is_drawable
from frostline.report.page.charts.svg import WIDE

FEW = 24  # taps, up to which intervals are error bars; of more they would be a hedge, and are bands
ASIDE = 0.006  # of the chart's width, between the error bars of two readings of one tap


@dataclass(frozen=True)
class Reading:
    """One way of reading taps, such as a solved probe: its score at each tap, and the ends of its interval there.

    A tap without a score, None, leaves a gap.
    """

    name: str
    scores: Sequence[float | None]
    lows: Sequence[float | None] | None = None
    highs: Sequence[float | None] | None = None


def depth_chart(
    taps: Sequence[str],
    readings: Sequence[Reading],
    y: Axis,
    joined: Sequence[Bar] = (),
    lower_is_better: bool = False,
    styles: Mapping[str, int] | None = None,
    width: int = WIDE,
) -> str:
    """Return the scores along the network, ``taps`` from the input to the output below; the best of each is
    ringed and named.

    ``joined`` are scores of several taps at once: a level line each, from end to end, with its interval as a band.
    """
    assert all(len(one.scores) == len(taps) for one in readings)
    ends = sorted({1.0, float(max(len(taps), 1))})
    bars = len(taps) <= FEW
    aside = [ASIDE * len(taps) * (index - (len(readings) - 1) / 2) * bars for index in range(len(readings))]
    drawn = [_line(one, step, bars, lower_is_better) for one, step in zip(readings, aside, strict=True)]
    best = list(dict.fromkeys(round(line.chosen) - 1 for line in drawn if line.chosen is not None))
    for bar in joined:
        low, high = bar.bounds or (float("nan"), float("nan"))
        drawn.append(Line(bar.name, ends, [bar.centre] * len(ends), [low] * len(ends), [high] * len(ends)))
    return draw_lines(drawn, Axis("tap", names=tuple(taps), wanted=best), y, styles=styles, width=width)


def _line(one: Reading, aside: float, bars: bool, lower_is_better: bool) -> Line:
    places = [place + aside for place in range(1, len(one.scores) + 1)]
    known = [(score, place) for score, place in zip(one.scores, places, strict=True) if score is not None]
    known = [(score, place) for score, place in known if is_drawable(score)]
    sign = -1 if lower_is_better else 1
    best = max(known, key=lambda pair: (sign * pair[0], -pair[1]), default=None)
    lows, highs = (None if ends is None else _numbers(ends) for ends in (one.lows, one.highs))
    return Line(one.name, places, _numbers(one.scores), lows, highs, chosen=best[1] if best else None, bars=bars)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
