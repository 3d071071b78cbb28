"""Compare Frostline with plain Lightning: the same data, weights, batch size, epochs and learning rate, in turns.

    python benchmarks/versus_plain.py DATA_ROOT --size 96 --epochs 20

Each run is a process of its own, Frostline's through its command line in a fresh outputs folder, so building the
cache is counted. Start-up is what a process spends before its work: importing torch and Lightning. For the linear
probe, benchmarks/floor.py says what one forward pass over the data and the head's own steps take.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LEARNING_RATES = {"linear_probe": 3e-3, "last_k": 1e-3, "full": 3e-4}
OPTIONS = {"last_k": ["freeze.k=1"]}
GOALS = {"linear_probe": 15.0, "last_k": 2.5, "full": 1.0}
FLOOR_GOAL = 1.3


@dataclass(frozen=True)
class Timing:
    """One run: seconds of the whole process, seconds of its work (start-up left out), and what it reached."""

    whole: float
    work: float
    accuracy: float
    trainable: int

    @property
    def startup(self) -> float:
        return self.whole - self.work


def call(command: list[str]) -> tuple[str, float]:
    """Run a process; return the last line it prints and its seconds. Exits with its messages when it fails."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1], seconds


def plain(options: argparse.Namespace, strategy: str) -> Timing:
    """Time plain Lightning."""
    command = [sys.executable, str(HERE / "plain_lightning.py"), str(options.root), "--strategy", strategy]
    command += [*_shared(options, strategy), "--workers", str(options.workers)]
    command += ["--batch-norm", options.batch_norm]
    line, whole = call(command)
    result = json.loads(line)
    return Timing(whole, result["seconds"], result["test_accuracy"], result["trainable"])


def frostline(options: argparse.Namespace, strategy: str) -> Timing:
    """Time Frostline with an empty cache."""
    with tempfile.TemporaryDirectory(prefix="versus-plain-") as outputs:
        command = [sys.executable, "-m", "frostline", "run", *overrides(options, strategy), f"outputs={outputs}"]
        line, whole = call(command)
        record: dict[str, Any] = json.loads(Path(line).read_text())
    if record["status"] != "done":
        raise SystemExit(f"frostline's {strategy} is {record['status']}: {record['reason']}")
    accuracy, trainable = record["metrics"]["test"]["accuracy"], record["parameters"]["trainable"][-1]
    return Timing(whole, record["cost"]["seconds"], accuracy, trainable)


def overrides(options: argparse.Namespace, strategy: str) -> list[str]:
    """Return the overrides that make Frostline train what plain_lightning.py trains."""
    return [
        "data=imagefolder",
        f"data.root={options.root.resolve()}",
        f"data.size={options.size}",
        "data.batch_size=64",
        "data.views=1",
        "augment=none",
        "backbone=efficientnet_lite0",
        "backbone.batch_norm=live",
        "head.solver=null",
        f"freeze={strategy}",
        *OPTIONS.get(strategy, []),
        "optimizer=adamw",
        "optimizer.weight_decay=0.01",
        f"optimizer.lr={LEARNING_RATES[strategy]}",
        "schedule=constant",
        "schedule.warmup=0",
        "task.label_smoothing=0",
        f"epochs={options.epochs}",
        f"seed={options.seed}",
        *options.override,
    ]


def _shared(options: argparse.Namespace, strategy: str) -> list[str]:
    rate = str(LEARNING_RATES[strategy])
    return ["--size", str(options.size), "--epochs", str(options.epochs), "--seed", str(options.seed), "--lr", rate]


def show(name: str, timing: Timing) -> None:
    print(
        f"  {name:<16} {timing.whole:8.1f} s, of which start-up {timing.startup:5.1f} s; "
        f"test accuracy {timing.accuracy:.3f}; {timing.trainable:,} parameters train",
        flush=True,
    )


def compare(options: argparse.Namespace, strategy: str) -> None:
    """Run both and print their ratio."""
    print(
        f"{strategy}: {options.size} px, {options.epochs} epochs, learning rate {LEARNING_RATES[strategy]}", flush=True
    )
    slow = plain(options, strategy)
    show("plain Lightning", slow)
    fast = frostline(options, strategy)
    show("Frostline", fast)
    if slow.trainable != fast.trainable:
        print("  (Lightning's freeze leaves BatchNorm trainable unless it is told --batch-norm frozen.)")
    print(f"  ratio end to end: {slow.whole / fast.whole:.2f}x (goal: {GOALS[strategy]:g}x or more)")
    print(f"  ratio without start-up: {slow.work / fast.work:.2f}x")
    if strategy == "linear_probe":
        compare_floor(options, fast)


def compare_floor(options: argparse.Namespace, fast: Timing) -> None:
    """Print how far Frostline's probe is from the least such a probe can take."""
    line, _ = call([sys.executable, str(HERE / "floor.py"), str(options.root), *_shared(options, "linear_probe")])
    found = json.loads(line)
    least = found["forward"] + found["head"]
    print(f"  one forward pass {found['forward']:.2f} s + head {found['head']:.2f} s = {least:.2f} s", end="")
    print(f" (reading the images, not counted: {found['reading']:.2f} s)")
    print(f"  Frostline, start-up aside: {fast.work:.2f} s = {fast.work / least:.2f}x", end="")
    print(f" (goal: {FLOOR_GOAL:g}x or less); with reading: {fast.work / (least + found['reading']):.2f}x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with train/, val/ and test/, one folder per class in each")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--strategies", nargs="+", choices=list(GOALS), default=list(GOALS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="plain Lightning's processes that load images")
    parser.add_argument(
        "--batch-norm", choices=("live", "frozen"), default="live", help="of plain Lightning; live: its default"
    )
    parser.add_argument("--override", nargs="*", default=[], help="further overrides of Frostline's config")
    options = parser.parse_args()
    for strategy in options.strategies:
        compare(options, strategy)


if __name__ == "__main__":
    main()
