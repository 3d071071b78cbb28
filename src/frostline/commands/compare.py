"""`frostline compare`: strategies x seeds on one data set and one backbone, then the report."""

import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from frostline.commands.arguments import parse
from frostline.commands.report import make_report
from frostline.commands.run import show
from frostline.config import compose, explained, parse_overrides, plain
from frostline.dispatch import Outcome, dispatch, stop_all
from frostline.errors import UserError
from frostline.files import sha256_json, write_json
from frostline.results.store import run_folder, run_id

ABOUT = "Strategies x seeds, one process each, then the report, whose path is the last line."
VARIED = {"freeze": "compare.strategies=[lp_ft, {last_k: {k: 2}}]", "seed": "compare.seeds=[0, 1, 2]"}


@dataclass(frozen=True)
class Job:
    """One run of a comparison: the strategy with its options, the seed, and the resolved config."""

    label: str
    seed: int
    id: str
    config: dict[str, Any]


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 where any run failed."""
    args = parse("compare", ABOUT, argv, sweeps=False)
    for one in parse_overrides(args.overrides):
        node = str(one.key_or_group).partition(".")[0]
        if node in VARIED:
            raise UserError(f"{node}: a comparison varies this itself; give it as {VARIED[node]}.")
    if args.cfg:
        return show("compare", args)
    composed = compose("compare", args.overrides, args.config_dir)
    config = plain(composed)
    jobs = [job for entry in strategies(config) for job in make_jobs(entry, config, args.overrides, args.config_dir)]
    check_distinct(jobs)
    outputs = Path(config["outputs"])
    folder = outputs / "comparisons" / folder_name(config, composed, jobs)
    write_index(folder, outputs, jobs, shlex.join(["frostline", "compare", *argv]))
    print(
        f"{len(jobs)} runs, {config['launcher']['workers']} at a time; the comparison's folder is {folder}", flush=True
    )
    failed = run_all(jobs, config["launcher"]["workers"])
    print(make_report(folder), flush=True)
    return 1 if failed else 0


def strategies(config: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the (name, options) of each strategy. Raises UserError for an empty list or an entry of another form."""
    node = config["compare"]
    for key in ("strategies", "seeds"):
        if not node[key]:
            raise UserError(f"compare.{key}: the list is empty; give one as in {VARIED['freeze']} {VARIED['seed']}.")
    found = []
    for entry in node["strategies"]:
        pairs = list(entry.items()) if isinstance(entry, Mapping) else [(entry, None)]
        if len(pairs) != 1 or not isinstance(pairs[0][0], str) or not isinstance(pairs[0][1] or {}, Mapping):
            raise UserError(
                f"compare.strategies: {entry!r} is neither a name nor one with options: {{last_k: {{k: 2}}}}."
            )
        found.append((pairs[0][0], dict(pairs[0][1] or {})))
    return found


def make_jobs(
    strategy: tuple[str, dict[str, Any]], config: Mapping[str, Any], overrides: Sequence[str], config_dir: Path | None
) -> list[Job]:
    """Compose and check the runs of one strategy, one for each seed. Raises UserError for what is wrong with any."""
    name, options = strategy
    if not re.fullmatch(r"\w+", name):
        raise UserError(f"compare.strategies: {name!r} is no strategy's name.")
    composed = compose("compare", [*overrides, f"freeze={name}"], config_dir)
    set_options(composed, name, options)
    label = name + ("(" + ", ".join(f"{key}={value}" for key, value in options.items()) + ")" if options else "")
    jobs = []
    for seed in config["compare"]["seeds"]:
        composed.seed = seed
        resolved = plain(composed)
        del resolved["compare"]
        resolved["launcher"]["threads"] = threads(resolved["launcher"])
        jobs.append(Job(label, seed, run_id(resolved), resolved))
    return jobs


def set_options(composed: DictConfig, name: str, options: Mapping[str, Any]) -> None:
    """Put a strategy's options into the node `freeze`. Raises UserError for one that the strategy does not have."""
    for key, value in options.items():
        with explained(None):
            OmegaConf.update(composed, f"freeze.{key}", value, merge=False)


def threads(launcher: Mapping[str, Any]) -> int | None:
    """Return the compute threads of each run: as configured, else the cores shared out among the workers."""
    if launcher["threads"] is not None or launcher["workers"] == 1:
        return launcher["threads"]
    return max(1, (os.cpu_count() or 1) // launcher["workers"])


def check_distinct(jobs: Sequence[Job]) -> None:
    """Raise UserError when two entries come to the same run, which would be counted twice."""
    seen: dict[str, Job] = {}
    for job in jobs:
        other = seen.setdefault(job.id, job)
        if other is not job:
            raise UserError(
                f"compare: {other.label} with seed {other.seed} and {job.label} with seed {job.seed} are the same run; "
                "leave one out of compare.strategies or compare.seeds."
            )


def folder_name(config: Mapping[str, Any], composed: DictConfig, jobs: Sequence[Job]) -> str:
    """Return compare.name, or a name from the data set, the backbone and a hash of the runs.

    So the same command again goes on in the same folder. Raises UserError for a name that is no folder's.
    """
    name = config["compare"]["name"]
    if name is None:
        choices = composed.hydra.runtime.choices
        return f"{choices.data}-{choices.backbone}-{sha256_json([job.id for job in jobs])[:8]}"
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"compare.name: {name!r} is no folder's name; use letters, digits, '.', '-' and '_'.")
    return name


def write_index(folder: Path, outputs: Path, jobs: Sequence[Job], command: str) -> None:
    """Write runs.json: the command, and which runs the comparison is made of, with paths from its folder."""
    rows = [
        {
            "strategy": job.label,
            "seed": job.seed,
            "id": job.id,
            "path": os.path.relpath(run_folder(outputs, job.id), folder),
        }
        for job in jobs
    ]
    write_json(folder / "runs.json", {"command": command, "runs": rows})


def run_all(jobs: Sequence[Job], workers: int) -> int:
    """Run every job, ``workers`` at a time, whatever becomes of the others; return how many failed."""
    failed = 0
    with ThreadPoolExecutor(workers) as pool:
        waiting = {pool.submit(timed, job): job for job in jobs}
        try:
            for number, future in enumerate(as_completed(waiting), 1):
                outcome, seconds = future.result()
                print(f"[{number}/{len(jobs)}] {describe(waiting[future], outcome, seconds)}", flush=True)
                failed += outcome.record["status"] != "done"
        except BaseException:  # Ctrl-C, or an output folder that has become unusable
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
    if failed:
        print(f"frostline: {failed} of {len(jobs)} runs have no result; the report says why.", file=sys.stderr)
    return failed


def timed(job: Job) -> tuple[Outcome, float]:
    """Run one job; return how it ended and the seconds it took, process start included."""
    start = time.perf_counter()
    return dispatch(job.config, quiet=True), time.perf_counter() - start


def describe(job: Job, outcome: Outcome, seconds: float) -> str:
    """Return the line that says how a run ended."""
    record, metric = outcome.record, job.config["monitor"]
    how = f"{record['status']}: {record['reason']}"
    if record["status"] == "done":
        how = f"done{'' if outcome.fresh else ' before'}, test {metric} {record['metrics']['test'][metric]:.4f}"
    return f"{job.label} seed {job.seed}: {how}, {seconds:.1f} s"
