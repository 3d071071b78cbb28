"""The picture: the test metric against what it costs, with the Pareto front."""

from collections.abc import Callable, Sequence
from functools import partial

from frostline.report.page.charts import Axis, ScatterPoint, draw_scatter
from frostline.report.page.parts import Figure, Fold, Part, Section, Text, Warn, make_figure
from frostline.report.page.sections.limits import MOST_BLOCKS, MOST_DRAWN
from frostline.report.read.runs import Block
from frostline.report.statistics.analysis import Analysis
from frostline.units import format_duration, format_flops, format_number, format_score, join_names

# cost, what it is called, its axis, how it is shown
COSTS: Sequence[tuple[str, str, str, Callable[[float | None], str]]] = (
    ("seconds", "wall time", "seconds for one run", format_duration),
    ("flops", "FLOPs", "forward and backward FLOPs for one run", format_flops),
    ("trainable", "trainable parameters", "trainable parameters, most in any phase", format_number),
)
DECADE = 10


def make_picture(analysis: Analysis, warnings: Sequence[str]) -> Section:
    """Return the section right below the verdict: what to beware of, and the test metric against each cost."""
    parts: list[Part] = [Warn(warning) for warning in warnings]
    drawn = [(name, made) for cost, name, *_ in COSTS if (made := _figure(analysis, cost, None, f"cost-{cost}"))]
    if drawn:
        parts.append(drawn[0][1])
        parts += [Fold(f"The same against {name}", [made]) for name, made in drawn[1:]]
    if len(analysis.blocks) > 1:
        made = [
            one
            for place, block in enumerate(analysis.blocks[:MOST_BLOCKS], 1)
            if (one := _figure(analysis, "seconds", block, f"cost-seconds-{place}"))
        ]
        parts += [Fold("The same for each block", made)] if made else []
    if len(analysis.labels) > MOST_DRAWN:
        parts.append(Text(f"Drawn are the {MOST_DRAWN} best of {len(analysis.labels)} strategies."))
    return Section("picture", f"{analysis.name[0].upper()}{analysis.name[1:]} against cost", parts)


def _figure(analysis: Analysis, cost: str, block: Block | None, id: str) -> Figure | None:
    _, name, title, form = next(one for one in COSTS if one[0] == cost)
    points = [point for label in analysis.labels[:MOST_DRAWN] if (point := _point(analysis, label, cost, block))]
    if not points:
        return None
    front = [label for label in analysis.front(cost, block) if label in {point.name for point in points}]
    values = [point.x for point in points]
    log = min(values) > 0 and max(values) / min(values) >= DECADE
    draw = partial(
        draw_scatter, points, Axis(title, log), Axis(f"test {analysis.name}"), front=front, styles=analysis.styles
    )
    where = f" on {analysis.keys[block]}" if block else ", mean over all blocks" if len(analysis.blocks) > 1 else ""
    caption = (
        f"Test {analysis.name} against {name} of one run{where}. Points: means over seeds; bars: 95% intervals of the "
        f"mean. The line is the Pareto front, which no other strategy beats in both: {join_names(front)}."
    )
    return make_figure(id, caption, draw)


def _point(analysis: Analysis, label: str, cost: str, block: Block | None) -> ScatterPoint | None:
    x, y = analysis.cost(label, cost, block), analysis.score(label, block)
    if x is None or y is None:
        return None
    low, high = (y.interval.low, y.interval.high) if y.interval else (None, None)
    left, right = (x.interval.low, x.interval.high) if x.interval and x.interval.high > x.interval.low else (None, None)
    return ScatterPoint(
        label,
        x.mean,
        y.mean,
        left,
        right,
        low,
        high,
        f"n = {y.n}: {join_names([format_score(one) for one in y.values])}",
    )
