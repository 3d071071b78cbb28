"""Decisions on a run that goes on: whether it stops or pauses after an epoch, by one file in its folder."""

import time
from enum import StrEnum
from pathlib import Path

from frostline.files.atomic import read_json, write_json
from frostline.files.shapes import check_shape

DECISION = "decision.json"
PATIENCE_S = 10.0
"""Seconds that a run waits for a decision; then it goes on, so that a study that has died stops nobody."""
LOOK_S = 0.02


class Decision(StrEnum):
    """What a run is to do after an epoch. One that is paused goes on when it is begun again, one that stops does not
    pay to be."""

    GO_ON = "go on"
    PAUSE = "pause"
    STOP = "stop"


def await_decision(folder: Path, epoch: int, patience_s: float = PATIENCE_S) -> Decision:
    """Wait for the decision on an epoch that is in ``metrics.csv``, and return it.

    To go on where none comes within ``patience_s``. One process of a run asks, and tells the others: their clocks may
    differ, and so may what they see of a shared folder.
    """
    until = time.monotonic() + patience_s
    while (decision := _read_decision(folder, epoch)) is None and time.monotonic() < until:
        time.sleep(LOOK_S)
    return decision or Decision.GO_ON


def write_decision(folder: Path, epoch: int, decision: Decision) -> None:
    """Write down what a run is to do after an epoch; after those before it, it goes on."""
    write_json(folder / DECISION, {"epoch": epoch, "then": decision.value})


def remove_decision(folder: Path) -> None:
    """Remove the decision on a run: another study, or the same one begun anew, decides for itself."""
    (folder / DECISION).unlink(missing_ok=True)


def _read_decision(folder: Path, epoch: int) -> Decision | None:
    """Return the decision on an epoch, None while there is none. One to end holds for all later epochs too."""
    try:
        told = read_json(folder / DECISION)
        check_shape(told, {"epoch": int, "then": str}, "")
        decision = Decision(told["then"])
    except (OSError, ValueError):
        return None
    if told["epoch"] > epoch:
        return Decision.GO_ON
    return decision if decision is not Decision.GO_ON or told["epoch"] == epoch else None
