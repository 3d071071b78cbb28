"""The checks of benchmarks/cuda.py: python benchmarks/cuda_checks NAME FOLDER FOUND; each row is added to FOUND."""

import json
import sys
from pathlib import Path

import steps

import runs


def main() -> None:
    """Run one check, and write each row as soon as it is found."""
    name, outputs, found = sys.argv[1:]
    check = getattr(steps, f"check_{name}", None) or getattr(runs, f"check_{name}")
    with Path(found).open("a") as file:
        for row in check(Path(outputs)):
            file.write(json.dumps(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
