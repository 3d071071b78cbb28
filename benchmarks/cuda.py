"""Check on a machine with a GPU what the tests cannot: each check by itself, with limits that add up to 8 minutes.

    python benchmarks/cuda.py [--only NAME ...] [--json FILE]

Nothing is downloaded: a network whose weights are not there begins with random ones, and its check says so. Each check
runs in a process of its own (benchmarks/cuda_checks), is ended after its limit and keeps what it had found by then.
Prints a table of what was found, *ok*, *wrong*, or *not done* with the reason, and writes it as JSON with the versions
of the machine. Ends with 1 where something is wrong. Without a GPU the same checks run on the processor, as far as they
mean anything there.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from frostline.processes.lifetime import end_group

CHECKS = {
    "pool": ("doctor names the devices; a warm worker has one, and gives its memory back between runs", 45),
    "default": ("the run that a newcomer makes", 25),
    "random": ("networks with random weights and live BatchNorm", 25),
    "precision": ("bf16-mixed and 16-mixed beside 32-true, solved and stepped", 45),
    "resume": ("killed, stopped inside an epoch, and gone on with", 45),
    "cached": ("cached against live activations at three cuts", 25),
    "waits": ("steps that wait for the device", 25),
    "profile": ("how busy the device is where all of a network trains", 55),
    "exchange": ("what ranks exchange, from the device", 20),
    "fsdp": ("sharded training on one device against DDP", 50),
    "modalities": ("text, speech and transcripts", 40),
    "compile": ("a compiled network", 50),
    "determinism": ("trainer.deterministic in a worker that has trained without", 30),
}
"""Each check, with what it is about and the seconds that it may take: 8 minutes in all."""
CHECKING = Path(__file__).with_name("cuda_checks")  # no folder with this file: NVIDIA has a package called cuda
ROW = "{check:12} {state:9} {about}"


def run(name: str, folder: Path, patience: float) -> list[dict[str, Any]]:
    """Return what a check finds in a process of its own: rows with `check`, `state`, `about` and perhaps `figures`."""
    limit = CHECKS[name][1] * patience
    found = folder / f"{name}.jsonl"
    words = [sys.executable, str(CHECKING), name, str(folder / name), str(found)]
    started = time.monotonic()
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            process.terminate()
            with suppress(subprocess.TimeoutExpired):  # the time to end the workers that it has started
                process.wait(15)
        end_group(process.pid, signal.SIGKILL)
        process.wait()
    rows = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
    if code is None:
        rows.append({"state": "wrong", "about": f"not done within {limit:g} s"})
    elif code:
        last = (folder / f"{name}.log").read_text().strip().splitlines()[-1:]
        rows.append({"state": "wrong", "about": f"ended with {code}: {' '.join(last)}"})
    rows.append({"state": "", "about": f"{time.monotonic() - started:.0f} s"})
    return [{"check": name, **row} for row in rows]


def machine() -> dict[str, Any]:
    """Return what the figures depend on: the device, and the versions of what computes."""
    done = subprocess.run([sys.executable, str(CHECKING), "machine"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Run the checks; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=CHECKS, default=list(CHECKS), metavar="NAME", help=", ".join(CHECKS)
    )
    parser.add_argument("--json", type=Path, default=Path("cuda.json"), help="the file for what was found")
    parser.add_argument("--patience", type=float, default=1, help="multiplies the limits, for slower machines (1)")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            for row in run(name, Path(folder), options.patience):
                print(ROW.format(**row), flush=True)
                rows.append(row)
            options.json.write_text(json.dumps({"machine": about, "found": rows}, indent=1))
            if any(row["check"] == name and row["state"] == "wrong" for row in rows):
                print((Path(folder) / f"{name}.log").read_text()[-3000:], file=sys.stderr, flush=True)
    counts = {state: sum(row["state"] == state for row in rows) for state in ("ok", "wrong", "not done")}
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    return int(counts["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
