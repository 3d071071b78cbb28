"""Data sets with copies and odd samples that tests have put there."""

import shutil
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from tests.data.sounds import RATE, folders, tone, write


def write_picture(path: Path, seed: int, size: tuple[int, int] = (24, 18)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_pictures(root: Path) -> Path:
    """Write 8, 6 and 6 images a class of two classes, all different."""
    for place, (split, count) in enumerate([("train", 8), ("val", 6), ("test", 6)]):
        for label in ("cat", "dog"):
            for index in range(count):
                write_picture(root / split / label / f"{index}.png", 1000 * place + 100 * (label == "dog") + index)
    return root


def plant_pictures(root: Path) -> Path:
    """Plant in such images: a copy in train; 2 of train in val, 1 as the other class; 1 of val in test; odd ones."""
    shutil.copy(root / "train/cat/0.png", root / "train/cat/copy.png")
    shutil.copy(root / "train/cat/1.png", root / "val/cat/leaked.png")
    shutil.copy(root / "train/cat/2.png", root / "val/dog/relabelled.png")
    shutil.copy(root / "val/dog/3.png", root / "test/dog/late.png")
    Image.new("RGB", (24, 18), (7, 7, 7)).save(root / "train/dog/grey.png")
    write_picture(root / "val/cat/huge.png", 5000, (240, 180))
    content = (root / "train/dog/1.png").read_bytes()
    (root / "train/dog/half.png").write_bytes(content[: len(content) // 2])
    return root


def plant_recordings(root: Path) -> Path:
    """Write recordings of two classes with a silent one, a long one, and a copy across splits."""
    folders(root)
    write(root / "train/low/silent.wav", np.zeros(4000, np.float32))
    write(root / "test/high/long.wav", tone(1500.0, 6.0))
    shutil.copy(root / "train/high/2.wav", root / "val/low/leaked.wav")
    assert soundfile.info(root / "train/low/silent.wav").samplerate == RATE
    return root
