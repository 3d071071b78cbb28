"""SVG charts drawn in plain Python: the same input gives the same bytes, and what they show is escaped."""

from frostline.report.charts.curves import Line, lines
from frostline.report.charts.dots import Dot, dots
from frostline.report.charts.forest import Bar, intervals
from frostline.report.charts.frame import Axis
from frostline.report.charts.heat import matrix
from frostline.report.charts.marks import swatch
from frostline.report.charts.ranks import ranking
from frostline.report.charts.scatter import Point, scatter
from frostline.report.charts.svg import NARROW, WIDE, standalone

__all__ = [
    "NARROW",
    "WIDE",
    "Axis",
    "Bar",
    "Dot",
    "Line",
    "Point",
    "dots",
    "intervals",
    "lines",
    "matrix",
    "ranking",
    "scatter",
    "standalone",
    "swatch",
]
