"""A run that is tested goes on from the checkpoints of the trial that it was: nothing is trained twice."""

import os
import shutil
from pathlib import Path

from frostline.files.atomic import name_write_errors

CHECKPOINTS = "checkpoints"
METRICS = "metrics.csv"


def adopt_checkpoints(trial: Path, answer: Path) -> None:
    """Give a run's folder the checkpoints and the history of another one; what it has of its own is replaced.

    Raises WriteError where the disk does not take them.
    """
    with name_write_errors(answer):
        target = answer / CHECKPOINTS
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in sorted((trial / CHECKPOINTS).iterdir()):
            link_or_copy(path, target / path.name)
        shutil.copy2(trial / METRICS, answer / METRICS)


def link_or_copy(source: Path, target: Path) -> None:
    """Let a file have a second name, where the file system knows such; each is replaced as a whole, never changed."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
