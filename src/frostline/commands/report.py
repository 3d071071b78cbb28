"""`frostline report`: a comparison's report, made again from its runs' records."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from frostline.errors import UserError
from frostline.results.store import read_record


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser("frostline report", description="Write the report of a comparison again.")
    parser.add_argument("folder", type=Path, help="the comparison's folder, such as outputs/comparisons/demo")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    print(make_report(parser.parse_args(argv).folder))
    return 0


def make_report(folder: Path) -> Path:
    """Write the report of the comparison in ``folder`` from the records of its runs; return report.md's path.

    A run without a record counts as one without a result. Raises UserError when the folder is no comparison's.
    """
    from frostline.report.render import write_report

    index = folder / "runs.json"
    try:
        content = json.loads(index.read_text())
        named = [(run["strategy"], run["seed"], folder / run["path"]) for run in content["runs"]]
    except OSError as error:
        raise UserError(f"{folder}: this is no comparison's folder: {index} cannot be read.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{index}: this is no list of runs; frostline compare writes it anew.") from error
    return write_report(
        folder,
        [{"label": label, "seed": seed, "record": read_record(path)} for label, seed, path in named],
        content["command"],
    )
