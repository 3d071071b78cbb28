"""`frostline compare`: every strategy with every seed, in every block, then the report."""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from frostline.commands.arguments import parse
from frostline.commands.report import make_report
from frostline.commands.run import show
from frostline.comparison.cells import Design, design, split_sweeps
from frostline.comparison.conduct import Detached, Sitting, facts_of, surveyed
from frostline.comparison.index import Index
from frostline.comparison.outlook import outlook, table, total
from frostline.launchers.base import make_launcher
from frostline.results.owner import owned
from frostline.units import duration

ABOUT = (
    "Strategies x seeds x whatever is swept, each run in a worker process, then the report: the last line is its path."
)


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 where any run has no result."""
    args = parse("compare", ABOUT, argv, sweeps=False)
    if args.cfg:
        base, swept = split_sweeps(args.overrides, args.config_dir)
        args.overrides = [*base, *(ones[0] for ones in swept.values())]
        return show("compare", args)
    found = design(args.overrides, args.config_dir)
    command = shlex.join(["frostline", "compare", *(one for one in argv if one != "--plan")])
    return plan(found, command) if args.plan else carry_out(found, command)


def plan(found: Design, command: str) -> int:
    """Print what would run, what is there already and about how long it takes; run nothing and write nothing."""
    index = Index.open(comparison_folder(found), found, command)
    epochs = index.epochs()  # those that a budget of seconds came to
    found = replace(found, cells=[replace(cell, epochs=epochs.get(cell.key, cell.epochs)) for cell in found.cells])
    with make_launcher(found.configs()) as launcher:
        workers = launcher.workers
        rows = outlook(found, facts_of(found, surveyed(found, index, launcher)), index.tuned())
        seconds = total(rows, workers)
    left, there = sum(row.left for row in rows), sum(row.trials_done + row.runs_done for row in rows)
    Console(highlight=False).print(table(rows, f"{found.name}: {left} runs to do, {there} there already"))
    how = "by the runs that are there" if any(row.measured for row in rows) else "by FLOPs alone: no run is there yet"
    print(f"about {duration(seconds)} with {workers} at a time ({how}); ~ marks a guess")
    return 0


def comparison_folder(found: Design) -> Path:
    """Return where a comparison lies."""
    return Path(found.config.outputs) / "comparisons" / found.name


def carry_out(found: Design, command: str) -> int:
    """Run what is left of a comparison and write its report; return the exit code."""
    started = time.monotonic()
    with owned(comparison_folder(found)) as folder:
        index = Index.open(folder, found, command)
        runs = len(found.cells) * len(found.seeds)
        print(f"{len(found.cells)} cells, {runs} runs; the comparison's folder is {folder}", flush=True)
        before = index.content["wall_seconds"]
        try:
            with make_launcher(found.configs()) as launcher:
                failed = Sitting(found, index, launcher).conduct()
        except Detached as going:
            print(f"{going}; when they have ended the same command goes on, and writes the report", flush=True)
            print(folder, flush=True)
            return 0
        finally:
            index.set(wall_seconds=before + time.monotonic() - started)
        if failed:
            print(f"frostline: {failed} of {runs} runs have no result; the report says why.", file=sys.stderr)
        print(make_report(folder), flush=True)
    return 1 if failed else 0
