"""`frostline tune`: a search for hyper-parameters, its best point tested once, then the report."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frostline.commands.arguments import parse
from frostline.commands.report import make_report
from frostline.commands.run import show
from frostline.config.compose import parse_overrides
from frostline.errors import UserError
from frostline.files.atomic import make_folder
from frostline.launchers.base import make_launcher
from frostline.results.owner import release, take
from frostline.tuning.conduct import Sitting
from frostline.tuning.index import Index, read
from frostline.tuning.search import Search, make_search
from frostline.tuning.study import explaining_storage, open_study, storage_url

ABOUT = """\
Optuna searches what sweeps (freeze=full,lp_ft 'optimizer.lr=tag(log,interval(1e-5,1e-2))') and tune.space, each trial
a run of its own that leaves the test split alone; the best is run once more and tested. The last line is the report's
path."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 where no trial, or not the final run, has a result."""
    args = parse("tune", ABOUT, argv, sweeps=False)
    if args.cfg:
        pairs = zip(args.overrides, parse_overrides(args.overrides), strict=True)
        args.overrides = [text for text, one in pairs if not one.is_sweep_override()]
        return show("tune", args)
    search = make_search(args.overrides, args.config_dir)
    command = shlex.join(["frostline", "tune", *(one for one in argv if one not in ("--plan", "--debug"))])
    return plan(search) if args.plan else carry_out(search, command)


def study_folder(search: Search) -> Path:
    """Return where a study lies."""
    return Path(search.config.outputs) / "studies" / search.name


def plan(search: Search) -> int:
    """Say how many trials there are and would be; run nothing and write nothing."""
    known = read(study_folder(search)) or {"trials": []}
    there = sum(row["status"] not in ("running", "waiting") for row in known["trials"])
    for one in search.space.parameters:
        print(f"  {one.describe()}")
    points = "" if search.grid is None else f" of a grid of {len(search.grid)} points"
    print(f"{search.name}: {search.trials} trials{points}, {there} there already; then one run that is tested")
    return 0


def carry_out(search: Search, command: str) -> int:
    """Run what is left of a study and write its report; return the exit code."""
    started = time.monotonic()
    with sole_owner(study_folder(search)) as folder, explaining_storage(storage_url(search, folder)):
        study = open_study(search, folder)
        index = Index.open(search, folder, command)
        index.update(study)
        there = sum(row["status"] not in ("running", "waiting") for row in index.content["trials"])
        print(f"{search.trials} trials, {there} there already; the study's folder is {folder}", flush=True)
        before = index.content["wall_seconds"]
        try:
            record = conduct(search, study, index)
        finally:
            index.set(wall_seconds=before + time.monotonic() - started)
        code = close(index, record)
        print(make_report(folder), flush=True)
    return code


def conduct(search: Search, study: Any, index: Index) -> Mapping[str, Any] | None:
    """Return the final run's record; no launcher is made where nothing is left to do."""
    launcher = make_launcher(search.corners)
    sitting = Sitting(search, study, index, launcher)
    known = sitting.settled()
    if known is not None:
        return known
    with launcher:
        return sitting.conduct()


def close(index: Index, record: Mapping[str, Any] | None) -> int:
    """Say what a study came to; return the exit code."""
    failed = [row for row in index.content["trials"] if row["status"] not in ("done", "pruned")]
    if failed:
        print(f"frostline: {len(failed)} trials have no result; the report says why.", file=sys.stderr)
    if record is None:
        print("frostline: no trial has a value, so there is no best one.", file=sys.stderr)
    elif record["status"] != "done":
        print(f"frostline: the final run {record['status']}: {record['reason']}", file=sys.stderr)
    return 0 if record is not None and record["status"] == "done" else 1


@contextmanager
def sole_owner(folder: Path) -> Iterator[Path]:
    """Own a study's folder. Raises UserError while another process does: one alone may ask and tell."""
    make_folder(folder)
    if not take(folder):
        raise UserError(f"{folder}: another process is at work on this study; wait for it, or give another tune.name.")
    try:
        yield folder
    finally:
        release(folder)
