"""What a set of records says: statistics, pictures, tables and a sentence."""

from frostline.report.render import write_report, write_search_report
from frostline.report.search import read_search
from frostline.report.study import read

__all__ = ["read", "read_search", "write_report", "write_search_report"]
