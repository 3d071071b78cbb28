"""Pruning: a study decides after each epoch of a trial whether it goes on, by one file in the run's folder."""

import time
from pathlib import Path

from frostline.files.atomic import read_json, write_json
from frostline.files.shapes import check_shape

DECISION = "pruning.json"
PATIENCE_S = 10.0
"""Seconds that a run waits for a decision; then it goes on, so that a study that has died stops nobody."""
LOOK_S = 0.02


def await_decision(folder: Path, epoch: int, patience_s: float = PATIENCE_S) -> bool:
    """Wait for the decision on an epoch that is in ``metrics.csv``; return whether the run has to stop.

    False where none comes within ``patience_s``. One process of a run asks, and tells the others: their clocks may
    differ, and so may what they see of a shared folder.
    """
    until = time.monotonic() + patience_s
    while (decision := _decision(folder, epoch)) is None and time.monotonic() < until:
        time.sleep(LOOK_S)
    return bool(decision)


def write_decision(folder: Path, epoch: int, stop: bool) -> None:
    """Write down whether a run has to stop after an epoch."""
    write_json(folder / DECISION, {"epoch": epoch, "stop": stop})


def remove_decision(folder: Path) -> None:
    """Remove the decision on a run: another study, or the same one begun anew, decides for itself."""
    (folder / DECISION).unlink(missing_ok=True)


def _decision(folder: Path, epoch: int) -> bool | None:
    """Return the decision on an epoch, None while there is none. One to stop holds for all later epochs too."""
    try:
        told = read_json(folder / DECISION)
        check_shape(told, {"epoch": int, "stop": bool}, "")
    except (OSError, ValueError):
        return None
    if told["stop"] and told["epoch"] <= epoch:
        return True
    return False if told["epoch"] >= epoch else None
