"""What a set of records says: statistics, a picture, a table and a sentence."""

from frostline.report.render import write_report

__all__ = ["write_report"]
