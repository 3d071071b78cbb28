"""What a set of records says: statistics, pictures, tables and a sentence."""

from frostline.report.render import write_report
from frostline.report.study import read

__all__ = ["read", "write_report"]
