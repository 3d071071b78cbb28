"""Where a network is surest and wrong, with pictures for a person to look at."""

from pathlib import Path
from typing import Any

from torch import Tensor

from frostline.data.base import DataModule
from frostline.files.atomic import write_atomic
from frostline.tasks.base import Task

MISTAKES = 12
FOLDER = "mistakes"


def find_mistakes(folder: Path, task: Task, data: DataModule, outputs: Tensor, labels: Tensor) -> list[dict[str, Any]]:
    """Return the predictions of the test split that are most wrong, and write their pictures.

    The worst first, at most ``MISTAKES``; of classes those that the network was surest of. ``picture`` is a path in
    the run's folder, or None for what cannot be seen.
    """
    for old in (folder / FOLDER).glob("*.png"):
        old.unlink()
    worst = task.worst(outputs, labels, MISTAKES)
    chosen = [index for index, _ in worst]
    names = [data.splits["test"].names[index] for index in chosen]
    rows = task.predictions(names, data.classes, labels[chosen], outputs[chosen])
    return [
        {
            **{column: row[column] for column in ("sample", "label", "prediction")},
            **how_wrong,
            "picture": _write_picture(folder, data, index, f"{FOLDER}/{number:02d}.png"),
        }
        for number, ((index, how_wrong), row) in enumerate(zip(worst, rows, strict=True))
    ]


def _write_picture(folder: Path, data: DataModule, index: int, path: str) -> str | None:
    content = data.preview("test", index)
    if content is None:
        return None
    write_atomic(folder / path, content)
    return path
