"""`frostline report`: the report of a comparison, a study, or any set of runs, from the runs' records."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from frostline.errors import UserError

ABOUT = """\
Write report.html, report.md, results.csv and table.tex (of a study: trials.csv), and print report.html's path: of one
comparison or study into its own folder, or of any runs and comparisons together into the folder --out."""


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


def make_report(*paths: Path, out: Path | None = None) -> Path:
    """Write the report of a comparison's or a study's folder, or of many runs, into ``out``; return report.html's path.

    Raises UserError for a path that is neither, and for a set of runs without ``out``.
    """
    from frostline.report import read_comparison, read_study, write_report, write_study_report
    from frostline.report.read.comparison import COMPARISON
    from frostline.report.read.study import STUDY
    from frostline.units import plural

    if len(paths) == 1 and (paths[0] / STUDY).is_file():
        return write_study_report(out or paths[0], read_study(paths[0]))
    if out is None and not (len(paths) == 1 and (paths[0] / COMPARISON).is_file()):
        found = read_comparison(paths)  # the more telling error first
        raise UserError(
            f"--out: name a folder for the report on {plural(len(found.runs), 'run')}, such as --out report."
        )
    return write_report(out or paths[0], read_comparison(paths))
