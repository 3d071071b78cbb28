"""Predictions of a run's network for new samples, as rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frostline.errors import UserError
from frostline.launchers.here import leaving_process
from frostline.serving.predict import predict
from frostline.serving.reading import make_reader
from frostline.serving.restored import restore
from frostline.serving.runs import find_run, refuse_misfits


def predict_samples(
    folder: Path, paths: Sequence[str], texts: Sequence[str], batch_size: int | None, text_column: str | None
) -> list[dict[str, Any]]:
    """Return a row for each sample that ``paths`` name, or for each of ``texts``. Raises UserError."""
    if bool(paths) == bool(texts):
        raise UserError("predict: expected either paths or texts, and at least one.")
    folder, record = find_run(str(folder), folder.parent)
    size = batch_size or record["config"]["data"]["batch_size"]
    with leaving_process():
        with refuse_misfits(folder):
            model = restore(folder, record)
            reader = make_reader(model, text_column)
        found = reader.items_of_texts(texts) if texts else reader.list_items(paths)
        return [
            {"sample": name, "prediction": answer.prediction, "probabilities": dict(answer.probabilities or {})}
            for answers in predict(model, reader.read, found, size, None)
            for name, answer in answers
        ]
