"""SVG charts drawn in plain Python: the same input gives the same bytes, and what they show is escaped."""

from frostline.report.page.charts.curves import Line, draw_lines
from frostline.report.page.charts.depth import Reading, depth_chart
from frostline.report.page.charts.dots import Dot, draw_dots
from frostline.report.page.charts.forest import Bar, draw_intervals
from frostline.report.page.charts.frame import Axis
from frostline.report.page.charts.heat import draw_matrix
from frostline.report.page.charts.marks import draw_swatch
from frostline.report.page.charts.ranks import draw_ranking
from frostline.report.page.charts.scatter import ScatterPoint, Waiting, draw_scatter
from frostline.report.page.charts.svg import NARROW, WIDE, make_standalone

__all__ = [
    "NARROW",
    "WIDE",
    "Axis",
    "Bar",
    "Dot",
    "Line",
    "Reading",
    "ScatterPoint",
    "Waiting",
    "depth_chart",
    "draw_dots",
    "draw_intervals",
    "draw_lines",
    "draw_matrix",
    "draw_ranking",
    "draw_scatter",
    "make_standalone",
    "draw_swatch",
]
