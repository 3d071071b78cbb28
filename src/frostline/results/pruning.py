"""Verdicts: a study says after each epoch of a run whether it goes on, by one file in the run's folder."""

import time
from pathlib import Path

from frostline.files.atomic import read_json, write_json
from frostline.files.shapes import check_shape

VERDICT = "verdict.json"
PATIENCE_S = 10.0
"""Seconds that a run waits for a verdict; then it goes on, so that a study that has died stops nobody."""
LOOK_S = 0.02


def ask(folder: Path, epoch: int, patience_s: float = PATIENCE_S) -> bool:
    """Wait for the verdict on an epoch that stands in ``metrics.csv`` by now; return whether the run is to stop.

    False where none comes within ``patience_s``. One process of a run asks, and tells the others: their clocks and
    their views of a shared folder may differ.
    """
    until = time.monotonic() + patience_s
    while (verdict := _verdict(folder, epoch)) is None and time.monotonic() < until:
        time.sleep(LOOK_S)
    return bool(verdict)


def tell(folder: Path, epoch: int, stop: bool) -> None:
    """Let a run know whether it is to stop after an epoch."""
    write_json(folder / VERDICT, {"epoch": epoch, "stop": stop})


def forget(folder: Path) -> None:
    """Remove what was said of a run before: another study, or one begun anew, judges for itself."""
    (folder / VERDICT).unlink(missing_ok=True)


def _verdict(folder: Path, epoch: int) -> bool | None:
    """Return the verdict on an epoch, None while there is none. A late word to stop holds for later epochs too."""
    try:
        told = read_json(folder / VERDICT)
        check_shape(told, {"epoch": int, "stop": bool}, "")
    except (OSError, ValueError):
        return None
    if told["stop"] and told["epoch"] <= epoch:
        return True
    return False if told["epoch"] >= epoch else None
