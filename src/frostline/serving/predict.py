"""Predictions for new samples, a batch at a time: never more than one is held."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TextIO

from frostline.data.reading import Batch, Item
from frostline.errors import UserError
from frostline.files.atomic import escape_bytes
from frostline.files.csv_tables import CsvWriter
from frostline.serving.restored import Restored
from frostline.tasks.base import Answer, Task
from frostline.units import join_lines

Said = tuple[str, Answer]
Read = Callable[[Sequence[Item]], Batch]
FORMATS = ("csv", "jsonl")


def predict(
    model: Restored, read: Read, items: Iterable[Item], size: int, skipped: Callable[[Sequence[str]], None] | None
) -> Iterator[list[Said]]:
    """Yield each sample's name and answer, predicted ``size`` samples at a time.

    ``skipped`` is called with those that cannot be read; None: the first batch that has any raises UserError.
    """
    for chunk in yield_chunks(items, size):
        batch = read(chunk)
        if batch.bad and skipped is None:
            raise UserError(
                f"{len(batch.bad)} samples cannot be used: {join_lines(batch.bad)}. "
                "Leave them out, or give --on-bad skip."
            )
        if batch.bad and skipped is not None:
            skipped(batch.bad)
        if batch.inputs is not None:
            answers = model.task.answers(model.classes, model.outputs(batch.inputs))
            yield list(zip(batch.names, answers, strict=True))


def yield_chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items, in order; the last may be shorter."""
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk


def make_writer(format: str, task: Task, file: TextIO) -> Callable[[Said], None]:
    """Return what writes an answer to a file: as a row of a table, or as an object of JSON on a line of its own."""
    return _table(task, file) if format == "csv" else _json_lines(file)


def _table(task: Task, file: TextIO) -> Callable[[Said], None]:
    sheet = CsvWriter(file)
    return lambda said: sheet.write({"sample": said[0], **task.cells(said[1])})


def _json_lines(file: TextIO) -> Callable[[Said], None]:
    def write(said: Said) -> None:
        name, answer = said
        row: dict[str, Any] = {"sample": name, "prediction": answer.prediction}
        if answer.probabilities:
            row["probabilities"] = {label: float(f"{value:.6g}") for label, value in answer.probabilities.items()}
        file.write(f"{escape_bytes(json.dumps(row, ensure_ascii=False))}\n")

    return write
