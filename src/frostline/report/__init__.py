"""What a set of records says: statistics, pictures, tables and a sentence."""

from frostline.report.page.render import write_report, write_search_report
from frostline.report.read.study import read_search
from frostline.report.read.comparison import read

__all__ = ["read", "read_search", "write_report", "write_search_report"]
