"""`frostline report`: the report of a comparison, a study, an advice, or any set of runs, from the runs' records."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from frostline.api.reports import make_report

ABOUT = """\
Write report.html, report.md, results.csv and table.tex (of a study: trials.csv; of an advice: advice.html and
advice.md), and print the page's path: of one comparison, study or advice into its own folder, or of any runs and
comparisons together into the folder --out."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser("frostline report", description=ABOUT, allow_abbrev=False)
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a comparison's folder, such as outputs/comparisons/demo; a run's folder; its record.json; outputs/runs",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write; needed for more than one comparison")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    print(make_report(*args.paths, out=args.out))
    return 0
