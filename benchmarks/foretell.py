"""What the constants of `frostline.advice.foretell` are, by the runs of another benchmark.

    python benchmarks/foretell.py OUTPUTS [--sets fashion,digits]

OUTPUTS is that of `benchmarks/frozen.py`. Prints, for each share of its epochs that a run has done, mean and deviation
of the logarithm of its last error on validation over the best one until then (``LEFT``), and of the last error of what
was tuned over that of the joined head of the same set (``UNTRIED``), each over all runs that stepped for 10 epochs.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from frostline.advice.standing import Standing, read_standing
from frostline.tasks.declarations import METRICS

EPOCHS = 10
JOINED = "taps"


def list_runs(outputs: Path, name: str) -> Iterator[tuple[dict[str, Any], Standing]]:
    """Yield the record and the curve of each finished run of a set."""
    for path in sorted((outputs / name / "runs").glob("*/record.json")):
        record = json.loads(path.read_text())
        if record["status"] == "done" and record["config"]["epochs"] == EPOCHS:
            metric = METRICS[record["config"]["monitor"]]
            yield record, read_standing(path.parent, metric, record["data"]["counts"]["val"])


def is_frozen(record: dict[str, Any]) -> bool:
    """Return whether nothing but a head was trained."""
    return record["config"]["freeze"]["_target_"].endswith(".linear_probe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", type=Path)
    parser.add_argument(
        "--sets", type=lambda names: names.split(","), default=["fashion", "digits", "vowels", "languages"]
    )
    arguments = parser.parse_args()
    left: dict[int, list[float]] = {}
    untried: list[float] = []
    for name in arguments.sets:
        runs = list(list_runs(arguments.outputs, name))
        joined = [
            one.error
            for record, one in runs
            if is_frozen(record) and record["config"]["head"]["_target_"].lower().endswith(JOINED) and one.error
        ]
        for record, one in runs:
            if len(one.errors) < 3 or one.error is None:
                continue
            for epoch, error in one.errors.items():
                left.setdefault(epoch + 1, []).append(math.log(one.error / error))
            if not is_frozen(record):
                untried.append(math.log(one.error / min(joined)))
    for done, found in sorted(left.items()):
        print(f"{done / EPOCHS:.1f}: ({fmean(found):.2f}, {pstdev(found):.2f}),  # {len(found)} runs")
    print(f"untried: ({fmean(untried):.2f}, {pstdev(untried):.2f})  # {len(untried)} runs")


if __name__ == "__main__":
    main()
