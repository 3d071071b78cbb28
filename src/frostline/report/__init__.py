"""What a set of records says: statistics, pictures, tables and a sentence."""

from frostline.report.page.render import write_advice_lines, write_advice_report, write_report, write_study_report
from frostline.report.read.advice import read_advice
from frostline.report.read.comparison import read_comparison
from frostline.report.read.study import read_study

__all__ = [
    "read_advice",
    "read_comparison",
    "read_study",
    "write_advice_lines",
    "write_advice_report",
    "write_report",
    "write_study_report",
]
