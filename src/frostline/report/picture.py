"""The picture of a report: test metric against cost, every strategy named where it stands."""

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.files import write_atomic
from frostline.report.compare import Row, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

# Okabe and Ito's colours without the yellow, too pale on white; 7 colours and 9 markers give 63 pairs.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "*")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "svg.hashsalt": "frostline",
}
BAR: dict[str, Any] = {"fmt": "none", "elinewidth": 1.1, "capsize": 3, "alpha": 0.7, "zorder": 2}
LINE = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 5, "relpos": (0.5, 0.5)}
NEAR = 16.0  # pixels between a point and its name beyond which a line joins them

Cost = Callable[[Row], Summary]
Point = tuple[str, Summary, Summary]


def write_picture(folder: Path, found: Sequence[Row], metric: str, name: str) -> None:
    """Write accuracy_cost.svg and .png: ``metric`` (shown as ``name``) against parameters and against seconds.

    Every row needs a finished run. The same rows give the same bytes.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure = draw(found, metric, name)
        for kind, metadata in (("svg", {"Date": None}), ("png", {})):
            content = io.BytesIO()
            figure.savefig(content, format=kind, dpi=150, metadata=metadata)
            write_atomic(folder / f"accuracy_cost.{kind}", content.getvalue())


def draw(found: Sequence[Row], metric: str, name: str) -> "Figure":
    """Return the figure: two panels with one vertical axis, means with one standard deviation either way."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(11.5, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    costs: tuple[Cost, Cost] = (_parameters, Row.seconds)
    for axes, cost, label in zip(panels, costs, ("trainable parameters", "seconds for one run"), strict=True):
        _points(axes, found, metric, cost)
        _scale(axes, [cost(row).mean for row in found])
        axes.set_xlabel(label)
    panels[0].xaxis.set_major_formatter(EngFormatter(sep=" "))
    panels[0].set_ylabel(f"test {name}", parse_math=False)
    figure.suptitle(f"Test {name} against cost: mean and standard deviation over seeds", parse_math=False)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, cost in zip(panels, costs, strict=True):
        _name(axes, [(row.label, cost(row), row.score(metric)) for row in found])
    return figure


def _parameters(row: Row) -> Summary:
    return Summary((), float(row.trainable()[1]), None)


def _points(axes: "Axes", found: Sequence[Row], metric: str, cost: Cost) -> None:
    for place, row in enumerate(found):
        x, y = cost(row), row.score(metric)
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        axes.errorbar(x.mean, y.mean, yerr=y.deviation, xerr=x.deviation, ecolor=colour, **BAR)
        size = 13 if marker == "*" else 8.5
        axes.plot(x.mean, y.mean, marker, color=colour, markersize=size, markeredgecolor="white", zorder=3)


def _scale(axes: "Axes", values: Sequence[float]) -> None:
    """Take a logarithmic scale where ``values`` span a decade, and leave room at the sides for names."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = min(values), max(values)
    if low > 0 and high / low >= 10:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low >= 100 else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.margins(x=0.2, y=0.12)


def _name(axes: "Axes", points: Sequence[Point]) -> None:
    """Write each name at the nearest place where it and the line to it hide no point, bar, line or other name."""
    marks = [_marks(axes, x, y) for _, x, y in points]
    written: list[Bbox] = []
    scale = 72 / axes.figure.dpi
    for place, (name, x, y) in enumerate(points):
        text = axes.annotate(
            name,
            (x.mean, y.mean),
            xytext=(0, 0),
            textcoords="offset points",
            verticalalignment="bottom",
            fontsize=9,
            zorder=4,
            parse_math=False,
            arrowprops={**LINE},
        )
        size = text.get_window_extent()
        centre = [float(value) for value in axes.transData.transform((x.mean, y.mean))]
        others = written + [box for other, boxes in enumerate(marks) if other != place for box in boxes]
        box = _free_place(centre, (size.width, size.height), marks[place], others, axes.bbox)
        written += [box, *_line(centre, box)]
        text.set_position(((box.x0 - centre[0]) * scale, (box.y0 - centre[1]) * scale))
        assert text.arrow_patch is not None
        text.arrow_patch.set_visible(bool(_line(centre, box)))


def _marks(axes: "Axes", x: Summary, y: Summary) -> "list[Bbox]":
    """Return the boxes in pixels of a point's marker and of its two error bars."""
    from matplotlib.transforms import Bbox

    to_pixels = axes.transData.transform
    centre_x, centre_y = to_pixels((x.mean, y.mean))
    bottom, top = (to_pixels((x.mean, y.mean + sign * (y.deviation or 0)))[1] for sign in (-1, 1))
    start = max(x.mean - (x.deviation or 0), x.mean / 100)
    left, right = to_pixels((start, y.mean))[0], to_pixels((x.mean + (x.deviation or 0), y.mean))[0]
    return [
        Bbox.from_extents(centre_x - 7, centre_y - 7, centre_x + 7, centre_y + 7),
        Bbox.from_extents(centre_x - 4, bottom - 2, centre_x + 4, top + 2),
        Bbox.from_extents(left - 2, centre_y - 4, right + 2, centre_y + 4),
    ]


def _free_place(
    centre: Sequence[float], size: tuple[float, float], own: "list[Bbox]", others: "list[Bbox]", inside: "Bbox"
) -> "Bbox":
    """Return the first box of this size, going outwards from ``centre``, that is free; else the one hiding least.

    A name must hide neither its ``own`` marker and bars nor ``others``; its line may cross the former.
    """

    def hidden(box: "Bbox") -> float:
        name = sum(_overlap(box, other) for other in own + others)
        return name + 5 * sum(_overlap(part, other) for part in _line(centre, box) for other in others)

    boxes = [box for box in _places(centre, *size) if inside.x0 <= box.x0 and box.x1 <= inside.x1]
    return min((box for box in boxes if inside.y0 <= box.y0 and box.y1 <= inside.y1), key=hidden)


def _places(centre: Sequence[float], width: float, height: float) -> "Iterator[Bbox]":
    """Yield places for a name around a point, nearest first: right, left, then the diagonals, above and below."""
    from matplotlib.transforms import Bbox

    for radius in (11, 15, 20, 28, 38, 50, 64, 80, 100, 125, 150):
        for angle in (0, 180, 45, 135, 315, 225, 90, 270, 22, 158, 338, 202, 68, 112, 292, 248):
            across, along = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            left = centre[0] + radius * across - width * (1 - across) / 2
            yield Bbox.from_bounds(left, centre[1] + radius * along - height / 2, width, height)


def _line(centre: Sequence[float], box: "Bbox") -> "list[Bbox]":
    """Return the line from a point to its name as small boxes along it; none where the two are near."""
    from matplotlib.transforms import Bbox

    across = min(max(centre[0], box.x0), box.x1) - centre[0]
    along = min(max(centre[1], box.y0), box.y1) - centre[1]
    length = math.hypot(across, along)
    if length <= NEAR:
        return []
    steps = [distance / length for distance in range(8, int(length) - 1, 3)]
    return [Bbox.from_bounds(centre[0] + step * across - 1, centre[1] + step * along - 1, 2, 2) for step in steps]


def _overlap(first: "Bbox", second: "Bbox") -> float:
    """Return the area in square pixels that two boxes share."""
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return max(width, 0.0) * max(height, 0.0)
