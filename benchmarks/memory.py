"""Measure the peak memory of a cached run over many images, above that of an idle worker.

    python benchmarks/memory.py --images 10000 --size 96

Makes the images, runs Frostline's linear probe over them and a process that only imports what a worker imports,
and prints the peak resident memory of the largest process of each.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
IDLE = "import frostline.runs.experiment, frostline.launchers.worker, timm, torchvision"
GOAL = 600


def make_images(root: Path, count: int, size: int) -> None:
    """Write ``count`` small JPEGs of coloured noise, no two alike, in two classes and three splits."""
    made = random.Random(0)
    for split, share in SPLITS.items():
        for index in range(round(count * share)):
            folder = root / split / ("warm" if index % 2 else "cold")
            folder.mkdir(parents=True, exist_ok=True)
            noise = Image.frombytes("RGB", (6, 6), made.randbytes(108))
            noise.resize((size, size)).save(folder / f"{split}_{index:05}.jpg")


def peak(command: list[str]) -> float:
    """Run a process; return the peak resident MB of its largest process, its own children included.

    On Linux ``ru_maxrss`` of a waited-for process is the largest of it and of those that it waited for.
    """
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}")
    return usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--strategy", default="linear_probe")
    parser.add_argument("--override", nargs="*", default=[], help="further overrides of Frostline's config")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="frostline-memory-") as folder:
        root = Path(folder)
        make_images(root / "images", options.images, options.size)
        idle = peak([sys.executable, "-c", IDLE])
        run = peak(
            [
                *(sys.executable, "-m", "frostline", "run", "data=imagefolder", f"data.root={root / 'images'}"),
                *(f"data.size={options.size}", "augment=none", "data.views=1", f"freeze={options.strategy}"),
                *("head.solver=null", f"epochs={options.epochs}", f"outputs={root / 'outputs'}", *options.override),
            ]
        )
    print(f"idle worker: {idle:.0f} MB; run over {options.images:,} images at {options.size} px: {run:.0f} MB")
    print(f"difference: {run - idle:.0f} MB (goal: less than {GOAL} MB)")


if __name__ == "__main__":
    main()
