"""Small folders of real image files for the tests of data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline.data.inputs import Pixels

Write = Callable[..., Path]


@pytest.fixture
def preprocess() -> Pixels:
    return Pixels(32, 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes ``count`` different images into a folder below the test's own."""

    def write_images(folder: str, count: int = 6, size: tuple[int, int] = (40, 30), kind: str = "png") -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            seed = [*f"{folder}/{index}".encode()]
            pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{index}.{kind}")
        return tmp_path

    return write_images


@pytest.fixture
def photos(write: Write) -> Path:
    """Return a folder of three splits of two classes: 6, 4 and 4 images a class."""
    for split, count in (("train", 6), ("val", 4), ("test", 4)):
        for label in ("cat", "dog"):
            root = write(f"{split}/{label}", count)
    return root
