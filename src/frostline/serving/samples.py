"""A few samples of a run, on which an exported network is compared with Frostline's."""

from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from frostline.data.speech.datasets import AudioOptions
from frostline.data.speech.sound import soundfile
from frostline.data.tables.rows import READERS
from frostline.files.csv_tables import read_sheet
from frostline.serving.restored import Restored
from frostline.serving.sources import Item, items

COUNT = 4
SIZES = ((91, 64), (40, 133), (64, 64), (300, 201))
TEXTS = ("a", "Half a sentence of some length, and", "no more than this.", "words " * 40)


def samples(model: Restored, scratch: Path) -> list[Item]:
    """Return files or texts of the run's test split, where they are still to be found, else made ones.

    ``scratch`` is a folder for those that are made.
    """
    modality = model.backbone.preprocess.modality
    if found := _texts(model) if modality == "text" else _files(model):
        return found
    if modality == "text":
        return [Item(f"text {place}", text.strip()) for place, text in enumerate(TEXTS)]
    return _pictures(scratch) if modality == "image" else _sounds(model, scratch)


def _files(model: Restored) -> list[Item]:
    """Return files that the run was tested on: their names lead from the data's root to them."""
    data, table = model.config.data, model.folder / "predictions.csv"
    root = data.get("root") or (Path(data["manifest"]).parent if data.get("manifest") else None)
    if root is None:
        return []
    named = [row["sample"] for row in islice(read_sheet(table), COUNT)]
    found = [(name, Path(root).expanduser() / name) for name in named]
    return [Item(name, str(path)) for name, path in found if path.is_file()]


def _texts(model: Restored) -> list[Item]:
    """Return texts of the test table, or of the only one."""
    data = model.config.data
    root = Path(data.get("root") or ".").expanduser()
    tables = [Path(data["file"]).expanduser()] if data.get("file") else [root / f"test{suffix}" for suffix in READERS]
    for table in tables:
        if table.is_file():
            found = items([str(table)], "text", data["text_column"])
            return [item for item in islice(found, COUNT) if item.content]
    return []


def _pictures(scratch: Path) -> list[Item]:
    made = np.random.default_rng(0)
    found = []
    for place, (width, height) in enumerate(SIZES):
        path = scratch / f"{width}x{height}.png"
        channels = 4 if place % 2 else 3  # some are transparent
        Image.fromarray(made.integers(0, 256, (height, width, channels), np.uint8)).save(path)
        found.append(Item(path.name, str(path)))
    return found


def _sounds(model: Restored, scratch: Path) -> list[Item]:
    """Return files of noise, at the network's rate and another, as long as is kept and shorter."""
    preprocess, made = model.backbone.preprocess, np.random.default_rng(0)
    least = model.config.data.get("min_seconds", AudioOptions.min_seconds)
    longest = preprocess.size / preprocess.rate  # type: ignore[attr-defined]
    found = []
    for rate, seconds in ((16000, max(2 * least, longest / 4)), (16000, longest), (22050, longest / 2)):
        path = scratch / f"{rate}_{seconds:.3f}.wav"
        noise = 0.1 * made.standard_normal(round(rate * seconds), np.float32)
        soundfile().write(path, noise, rate)
        found.append(Item(path.name, str(path)))
    return found
