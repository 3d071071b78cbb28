"""`frostline compare`: every strategy with every seed, in every block, then the report."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from frostline.api.comparisons import ComparisonResult, find_comparison_folder, run_comparison
from frostline.commands.arguments import parse, replace_overrides
from frostline.commands.run import show
from frostline.comparison.cells import Design, list_first_levels, make_design, split_sweeps
from frostline.comparison.forecast import estimate_seconds, forecast_cells, make_table
from frostline.comparison.index import ComparisonIndex
from frostline.comparison.profiled import count_profiles
from frostline.comparison.sitting import Detached, key_facts_by_cell, survey_cells
from frostline.launchers.base import make_launcher
from frostline.launchers.progress import Screen
from frostline.units import format_count, format_duration

ABOUT = (
    "Strategies x seeds x whatever is swept, each run in a worker process, then the report: the last line is its path."
)


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 where any run has no result."""
    args = parse("compare", ABOUT, argv)
    if args.cfg:
        base, swept = split_sweeps(args.overrides, args.config_dir)
        return show("compare", replace_overrides(args, [*base, *list_first_levels(swept)]))
    design = make_design(args.overrides, args.config_dir)
    command = shlex.join(["frostline", "compare", *(one for one in argv if one != "--plan")])
    if args.plan:
        return show_plan(design, command)
    try:
        result = ComparisonResult(run_comparison(design, command, Screen()))
    except Detached as going:
        print(f"{going}; when they have ended the same command goes on, and writes the report", flush=True)
        print(find_comparison_folder(design), flush=True)
        return 0
    print(result.report.path, flush=True)
    return 0 if all(run.status == "done" for run in result.runs) else 1


def show_plan(design: Design, command: str) -> int:
    """Print what would run, what is there already and about how long it takes; run nothing and write nothing."""
    index = ComparisonIndex.open(find_comparison_folder(design), design, command)
    epochs = index.read_epochs()  # those that a budget of seconds came to
    cells = [replace(cell, epochs=epochs.get(cell.key, cell.epochs)) for cell in design.cells]
    design = replace(design, cells=cells)
    with make_launcher(design.configs()) as launcher:
        workers = launcher.workers
        facts = key_facts_by_cell(design, survey_cells(design, index, launcher))
    rows = forecast_cells(design, facts, index.read_rates())
    seconds = estimate_seconds(rows, workers)
    left, there = sum(row.left for row in rows), sum(row.trials_done + row.runs_done for row in rows)
    Console(highlight=False).print(make_table(rows, f"{design.name}: {left} runs to do, {there} there already"))
    how = "by the runs that are there" if any(row.measured for row in rows) else "by FLOPs alone: no run is there yet"
    print(f"about {format_duration(seconds)} with {workers} at a time ({how}); ~ marks a guess")
    to_make, made = count_profiles(design, index.read_profiles())
    if to_make or made:
        profiles = format_count(to_make, "depth profile")
        print(f"before that {profiles} to make, {made} there already: a pass over train and val each, and its probes")
    return 0
