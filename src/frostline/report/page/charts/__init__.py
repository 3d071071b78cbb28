"""SVG charts drawn in plain Python: the same input gives the same bytes, and what they show is escaped."""

from frostline.report.page.charts.curves import Line, lines
from frostline.report.page.charts.depth import Reading, depth_chart
from frostline.report.page.charts.dots import Dot, dots
from frostline.report.page.charts.forest import Bar, intervals
from frostline.report.page.charts.frame import Axis
from frostline.report.page.charts.heat import matrix
from frostline.report.page.charts.marks import swatch
from frostline.report.page.charts.ranks import ranking
from frostline.report.page.charts.scatter import Point, scatter
from frostline.report.page.charts.svg import NARROW, WIDE, standalone

__all__ = [
    "NARROW",
    "WIDE",
    "Axis",
    "Bar",
    "Dot",
    "Line",
    "Point",
    "Reading",
    "depth_chart",
    "dots",
    "intervals",
    "lines",
    "matrix",
    "ranking",
    "scatter",
    "standalone",
    "swatch",
]
