"""`frostline tune`: a search for hyper-parameters, its best point tested once, then the report."""

import shlex
from collections.abc import Sequence

from frostline.api.studies import find_study_folder, run_study
from frostline.commands.arguments import parse, replace_overrides
from frostline.commands.run import show
from frostline.config.compose import parse_overrides
from frostline.launchers.progress import Screen
from frostline.tuning.index import read
from frostline.tuning.search import Search, make_search

ABOUT = """\
Optuna searches what sweeps (freeze=full,lp_ft 'optimizer.lr=tag(log,interval(1e-5,1e-2))') and tune.space, each trial
a run of its own that leaves the test split alone; the best is run once more and tested. The last line is the report's
path."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 where no trial, or not the final run, has a result."""
    args = parse("tune", ABOUT, argv)
    if args.cfg:
        pairs = zip(args.overrides, parse_overrides(args.overrides), strict=True)
        return show("tune", replace_overrides(args, [text for text, one in pairs if not one.is_sweep_override()]))
    search = make_search(args.overrides, args.config_dir)
    command = shlex.join(["frostline", "tune", *(one for one in argv if one not in ("--plan", "--debug"))])
    if args.plan:
        return show_plan(search)
    record = run_study(search, command, Screen())
    print(find_study_folder(search) / "report.html", flush=True)
    return 0 if record is not None and record["status"] == "done" else 1


def show_plan(search: Search) -> int:
    """Print how many trials there are and would be; run nothing and write nothing."""
    known = read(find_study_folder(search)) or {"trials": []}
    there = sum(row["status"] not in ("running", "waiting") for row in known["trials"])
    for one in search.space.parameters:
        print(f"  {one.describe()}")
    points = "" if search.grid is None else f" of a grid of {len(search.grid)} points"
    print(f"{search.name}: {search.trials} trials{points}, {there} there already; then one run that is tested")
    return 0
