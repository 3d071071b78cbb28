"""`frostline run`: one run, or a sweep of them."""

import argparse
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from frostline.commands.arguments import hand_over, parse
from frostline.config.compose import compose, explain_config_errors, list_single_choices, quote_override, resolve
from frostline.config.schema import Run
from frostline.config.secrets import without_credentials
from frostline.errors import UserError, escape_unprintable
from frostline.files.atomic import make_folder, name_write_errors, read_json, write_json
from frostline.launchers.base import Job, make_launcher
from frostline.launchers.dispatch import Outcome
from frostline.profiles.call import list_taps
from frostline.results.store import RECORD
from frostline.units import format_bytes, format_count

ABOUT = "One run: trains, tests, and prints the path of its record.json as the last line."


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    args = parse("run", ABOUT, argv)
    if args.cfg:
        return show("run", args)
    if args.multirun:
        return sweep(args)
    if args.taps:
        return show_taps(resolve(compose("run", args.overrides, args.config_dir)))
    job = Job("run", resolve(compose("run", args.overrides, args.config_dir)))
    outcome = make_launcher([job.config]).run_one(job)
    if outcome is not None:
        return report_outcome(outcome)
    print(f"submitted; the same command again goes on with it: {job.folder}", flush=True)
    return 0


def show_taps(config: Run) -> int:
    """Print the depths at which a network can be read; a worker finds them, and decodes no sample."""
    with make_launcher([config]) as launcher:
        found = launcher.ask(list_taps, [config])
    Console(highlight=False).print(make_taps_table(found))
    return 0


def make_taps_table(found: Mapping[str, Any]) -> Table:
    """Return what `list_taps` found as a table."""
    taps, samples = found["taps"], sum(found["samples"].values())
    size = format_bytes(sum(tap["bytes"] for tap in taps) * samples)
    title = f"{found['backbone']}: {format_count(len(taps), 'tap')}, {size} for {samples:,} samples of train and val"
    table = Table(title=escape_unprintable(title), box=SIMPLE_HEAD, title_justify="left")
    for column in ("tap", "width", "bytes a sample", "FLOPs up to it"):
        table.add_column(column, justify="left" if column == "tap" else "right", no_wrap=True)
    for tap in taps:
        name = Text(escape_unprintable(tap["name"]))
        table.add_row(name, f"{tap['width']:,}", format_bytes(tap["bytes"]), f"{tap['flops']:.0%}")
    return table


def show(root: str, args: argparse.Namespace) -> int:
    """Print the config that the overrides make, with Hydra's --cfg."""
    compose(root, args.overrides, args.config_dir)
    with explain_config_errors(args.config_dir):
        hand_over(root, args, ["--cfg", args.cfg, *(["--resolve"] if args.resolve else [])], run_swept)
    return 0


def report_outcome(outcome: Outcome) -> int:
    """Print how a run ended, its record's path last where the disk had room for one; return the exit code."""
    record = outcome.record
    if record["status"] != "done":
        said = escape_unprintable(f"frostline: run {outcome.id} {record['status']}: {record['reason']}")
        print(said, file=sys.stderr, flush=True)
    if outcome.path.exists():
        print(outcome.path, flush=True)
    if record["status"] == "done":
        return 0
    return 2 if record.get("user_error") else 1


def sweep(args: argparse.Namespace) -> int:
    """Run every combination of the swept values, with Hydra's sweeper and launcher; 1 if any run failed.

    Every choice of every swept group is composed and checked before the first run.
    """
    choices = list_single_choices(args.overrides, args.config_dir)
    configs = [resolve(compose("run", overrides, args.config_dir)) for overrides in choices]
    folder = sweep_folder(Path(configs[0].outputs))
    with (
        explain_config_errors(args.config_dir),
        name_write_errors(folder, others_too=True),
    ):  # Hydra keeps each run's overrides there
        hand_over("run", args, [f"hydra.sweep.dir={quote_override(str(folder))}", "--multirun"], run_swept)
    codes = [read_json(path)["code"] for path in folder.rglob("outcome.json")]
    going = f", {codes.count(None)} submitted" if None in codes else ""
    print(f"sweep: {codes.count(0)} of {len(codes)} runs done{going}; {folder}", file=sys.stderr)
    return 0 if codes and not any(codes) else 1


def sweep_folder(outputs: Path) -> Path:
    """Make and return a sweep's own folder: two sweeps started in the same moment get two."""
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}-{os.getpid()}"
    for suffix in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
        folder = (outputs / "sweeps" / f"{name}{suffix}").absolute()
        make_folder(folder.parent)
        with name_write_errors(folder), suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")


def run_swept(composed: DictConfig) -> None:
    """One run of a sweep, in whichever process Hydra's launcher chose; what went wrong is said and written down."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    config = resolve_swept(composed)
    if config is None:
        return
    job = Job("run", config)
    try:
        outcome = make_launcher([config]).run_one(job)
    except UserError as error:
        report_mistake(error)
        return
    if outcome is None:
        write_submitted(folder, job)
    else:
        write_outcome(folder, outcome)


def resolve_swept(composed: DictConfig) -> Run | None:
    """Return the checked config of a sweep's run, or None for a mistake, which is said and written down."""
    try:
        return resolve(composed)
    except UserError as error:
        report_mistake(error)
        return None


def report_mistake(error: UserError) -> None:
    """Print what is wrong with the present run of a sweep, and write that it is."""
    node = HydraConfig.get()
    overrides = " ".join(OmegaConf.to_container(node.overrides.task, resolve=False))  # type: ignore[arg-type]
    print(escape_unprintable(f"frostline: {without_credentials(overrides)}: {error}"), file=sys.stderr, flush=True)
    write_json(Path(node.runtime.output_dir) / "outcome.json", {"code": 2, "record": None})


def write_submitted(folder: Path, job: Job) -> None:
    """Write to the ``outcome.json`` of a sweep's run that its job goes on after this command."""
    write_json(folder / "outcome.json", {"code": None, "record": str(job.folder / RECORD)})


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Print how a run of a sweep ended, and write it to its ``outcome.json``."""
    write_json(folder / "outcome.json", {"code": report_outcome(outcome), "record": str(outcome.path)})
