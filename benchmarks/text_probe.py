"""What the cache is worth on text: the same probe of a language model, 20 epochs, with the cache and without.

python benchmarks/text_probe.py FOLDER [--epochs 20] [further overrides]

FOLDER holds train.csv, val.csv and test.csv with columns text and label. Whole processes, imports and the building of
the cache included. The processors' seconds are given beside the clock's: on a busy machine they are what to compare.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def processors() -> float:
    """Return the seconds that processors have spent on this process's children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def probe(root: str, epochs: int, cached: bool, outputs: Path, more: list[str]) -> tuple[float, float, dict]:
    """Return the seconds that one run takes by the clock and by the processors, and its record."""
    command = [sys.executable, "-m", "frostline", "run", "data=text_csv", f"data.root={root}", "backbone=minilm"]
    command += ["freeze=linear_probe", "head.solver=null", f"epochs={epochs}", f"cache.enabled={str(cached).lower()}"]
    started, used = time.monotonic(), processors()
    done = subprocess.run([*command, f"outputs={outputs}", *more], check=True, capture_output=True, text=True)
    seconds, used = time.monotonic() - started, processors() - used
    return seconds, used, json.loads(Path(done.stdout.strip().splitlines()[-1]).read_text())


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("--epochs", type=int, default=20)
    options, more = parser.parse_known_args()
    times: dict[bool, tuple[float, float]] = {}
    for cached in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            seconds, used, record = probe(options.root, options.epochs, cached, Path(folder), more)
        times[cached] = seconds, used
        accuracy = record["metrics"]["test"]["accuracy"]
        name = "cached" if cached else "uncached"
        print(f"{name}: {seconds:.1f} s, processors {used:.1f} s, test accuracy {accuracy:.4f}", flush=True)
    clock, used = (times[False][place] / times[True][place] for place in (0, 1))
    print(f"ratio over {options.epochs} epochs: {clock:.1f} by the clock, {used:.1f} by the processors")


if __name__ == "__main__":
    main()
