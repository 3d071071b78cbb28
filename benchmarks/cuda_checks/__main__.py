"""The checks of benchmarks/cuda.py: python benchmarks/cuda_checks NAME FOLDER FOUND; each row is added to FOUND.

`machine` prints what the figures hang on; `rank RANK FOLDER` is one of the ranks of the check `exchange`.
"""

import json
import sys
from pathlib import Path

import here
import steps

import runs


def check(name: str, outputs: str, found: str) -> None:
    """Run one check, and write each row as soon as it is found."""
    rows = getattr(steps, f"check_{name}", None) or getattr(runs, f"check_{name}")
    with Path(found).open("a") as file:
        for row in rows(Path(outputs)):
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    name, *more = sys.argv[1:]
    if name == "machine":
        print(json.dumps(here.machine()))
    elif name == "rank":
        steps.exchange(int(more[0]), more[1])
    else:
        check(name, *more)
