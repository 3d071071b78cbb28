"""A comparison beside the same runs done one by one, each in a process of its own and without the prefix cache.

    python benchmarks/comparison.py [OUTPUTS] [OVERRIDE ...]     # 8 strategies x 3 seeds x 2 data sets, tuned

prints both wall times and their ratio. The first is that of the whole command `frostline compare experiment=two_sets`,
report included, in an empty folder; the second adds up the very runs that it made, trials too, with all cores each and
without the start of a command line for each. ``--first N`` stops the second after N runs of each strategy and data
set, and scales what they took.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from frostline.config.schema import Run
from frostline.launchers.dispatch import dispatch
from frostline.results.store import RESOLVED


def compared(outputs: Path, overrides: list[str]) -> tuple[float, dict[str, Any], Path]:
    """Run the comparison; return its seconds, what is in comparison.json, and its folder."""
    started = time.monotonic()
    words = ["compare", "experiment=two_sets", f"outputs={outputs}", *overrides]
    done = subprocess.run([sys.executable, "-m", "frostline", *words], check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.monotonic() - started
    folder = Path(done.stdout.splitlines()[-1]).parent
    return seconds, json.loads((folder / "comparison.json").read_text()), folder


def alone(config: Run, outputs: Path) -> tuple[float, dict[str, Any]]:
    """Do one run without the cache in a process of its own; return its seconds and its record."""
    config = replace(config, outputs=str(outputs), cache=replace(config.cache, enabled=False))
    config.launcher = {**config.launcher, "workers": 1, "threads": None}
    started = time.monotonic()
    outcome = dispatch(config)
    return time.monotonic() - started, outcome.record


def main() -> None:
    """Time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", nargs="?", type=Path, help="where to keep the comparison; by default nowhere")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--first", type=int, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        outputs = args.outputs or Path(name) / "together"
        seconds, index, folder = compared(outputs, args.overrides)
        print(f"together: {seconds:.0f} s, {len(index['runs'])} runs", flush=True)
        groups = defaultdict(list)
        for row in index["runs"]:
            groups[row["label"], str(row["block"]), row["trial"]].append(row)
        total = 0.0
        for (label, block, trial), rows in groups.items():
            took = []
            for row in rows[: args.first]:
                config = Run.read(yaml.safe_load((folder / row["path"] / RESOLVED).read_text()))
                each, record = alone(config, Path(name) / "alone")
                assert record["status"] == "done", record["reason"]
                took.append(each)
            total += fmean(took) * len(rows)
            kind = "trials" if trial else "runs"
            print(f"  {label} {block}: {len(rows)} {kind}, {fmean(took):.1f} s each (of {len(took)})", flush=True)
    print(f"one by one: {total:.0f} s; together: {seconds:.0f} s; ratio {total / seconds:.2f}")


if __name__ == "__main__":
    main()
