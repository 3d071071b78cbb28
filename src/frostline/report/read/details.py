"""What is read only for the runs that a report shows: curves, confusion matrices and mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from frostline.files.atomic import read_bytes
from frostline.files.csv_tables import read_csv
from frostline.files.shapes import check_shape
from frostline.report.read.runs import RunSummary, look_up, parse_shared, read_number
from frostline.results.loading import load_record
from frostline.results.store import RECORD

MOST_PICTURE_BYTES = 1 << 20  # of one mistake's picture


@dataclass(frozen=True)
class Curve:
    """The validation scores of a run: ``epochs`` says after how many epochs each was taken."""

    epochs: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Mistake:
    """One bad mistake on the test split; ``picture`` is a PNG, None where the sample is no image.

    ``wrong`` says how bad it is, in ``measure``: ``probability``, given to a wrong class, or ``error``.
    """

    sample: str
    label: str
    prediction: str
    measure: str
    wrong: float
    picture: bytes | None


def read_curve(run: RunSummary, metric: str) -> Curve | None:
    """Return the validation curve of a run, or None where its metrics.csv has none."""
    points: list[tuple[int, float]] = []
    for row in read_csv(run.folder / "metrics.csv"):
        epoch, value = _number(row.get("epoch")), _number(row.get(f"val/{metric}"))
        if epoch is not None and value is not None:
            points.append((int(epoch) + 1, value))
    return Curve([epoch for epoch, _ in points], [value for _, value in points]) if points else None


def find_phase_starts(run: RunSummary) -> list[tuple[int, str]]:
    """Return where each phase after the first begins, as (epochs done before it, its name)."""
    phases = look_up(parse_shared(run.plan), "phases")
    found, done = list[tuple[int, str]](), 0
    for phase, following in pairwise(phases if isinstance(phases, list) else []):
        done += int(read_number(look_up(phase, "epochs")) or 0)
        found.append((done, str(look_up(following, "name"))))
    return found


def read_confusion(run: RunSummary) -> np.ndarray | None:
    """Return a run's confusion matrix on the test split [true class, predicted class], None where it has none."""
    table = load_record(run.folder / RECORD).get("confusion")
    try:
        check_shape(table, [[int]], "confusion")
        matrix = np.asarray(table, dtype=np.int64)
    except (ValueError, OverflowError):  # rows of several lengths; counts that no test split comes to
        return None
    return matrix if matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.min() >= 0 else None


def read_mistakes(run: RunSummary) -> list[Mistake]:
    """Return a run's worst mistakes, as its record has them."""
    listed = load_record(run.folder / RECORD).get("mistakes") or []
    return [
        Mistake(
            str(one.get("sample")),
            str(one.get("label")),
            str(one.get("prediction")),
            measure,
            read_number(one.get(measure)) or 0.0,
            _picture(run.folder, one.get("picture")),
        )
        for one in listed
        for measure in ["error" if "error" in one else "probability"]
    ]


def _picture(folder: Path, name: Any) -> bytes | None:
    """Return a PNG that lies in the run's own folder; a record cannot put any other file into a report."""
    path = folder / name if isinstance(name, str) else None
    try:
        if path is None or not path.resolve().is_relative_to(folder.resolve()):
            return None
        content = read_bytes(path, MOST_PICTURE_BYTES)
    except (OSError, ValueError):
        return None
    return content if content.startswith(b"\x89PNG\r\n\x1a\n") else None


def _number(text: str | None) -> float | None:
    try:
        return read_number(float(text or ""))
    except ValueError:
        return None
