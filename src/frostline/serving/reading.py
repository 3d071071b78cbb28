"""How new samples are read for a trained network: as its preprocessing says."""

from frostline.data.reading import Reader, RunData
from frostline.serving.restored import Restored


def make_reader(model: Restored, text_column: str | None = None) -> Reader:
    """Return what finds and reads new samples; ``text_column`` is that of tables where it is not the run's."""
    options = model.config.data if text_column is None else {**model.config.data, "text_column": text_column}
    return model.backbone.preprocess.reader(RunData(options, model.record["data"], model.task.is_sequence))
