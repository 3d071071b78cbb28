"""New images, read as those of a run's test split were."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from frostline.data.folders import IMAGES
from frostline.data.image import viewing
from frostline.data.image.headers import count_losses, make_limits
from frostline.data.image.pixels import adapt_pixels, decode_all
from frostline.data.inputs import Pixels
from frostline.data.reading import Batch, Item, Reader, Recipe, RunData, make_batch

IMPORT = "from PIL import Image"
SIZES = ((91, 64), (40, 133), (64, 64), (300, 201))
MAX_MEGAPIXELS = 50.0
"""What a new image may have for a network that was trained on data of the user's own, whose config has no limit."""


class ImageReader(Reader[Pixels]):
    """Reads image files as the run's config says, and as its backbone would where that says nothing.

    The configs of data of the user's own say nothing of images.
    """

    kind = IMAGES
    noun, argument = "images", "FILE"

    def __init__(self, preprocess: Pixels, run: RunData) -> None:
        data, self.run = run.options, run
        asked = {"fit": "crop", "crop": preprocess.crop, "background": "white"}
        asked |= {key: data[key] for key in asked if key in data}
        span = run.known.get("span")
        wanted = adapt_pixels(preprocess, data.get("size"), **asked)
        self.preprocess = replace(wanted, span=None if span is None else tuple(span))
        self.limits = make_limits(self.preprocess, data.get("max_megapixels", MAX_MEGAPIXELS))

    def read(self, items: Sequence[Item]) -> Batch:
        images, seen = decode_all([item.content for item in items], self.preprocess, self.limits)
        reasons = [one.reason for one in seen]
        sound = [index for index, reason in enumerate(reasons) if reason is None]
        return make_batch(items, reasons, lambda: images[sound], count_losses(seen, self.preprocess))

    def make_samples(self, folder: Path) -> list[Item]:
        made, items = np.random.default_rng(0), []
        for place, (width, height) in enumerate(SIZES):
            path = folder / f"{width}x{height}.png"
            channels = 4 if place % 2 else 3  # some are transparent
            Image.fromarray(made.integers(0, 256, (height, width, channels), np.uint8)).save(path)
            items.append(Item(path.name, str(path)))
        return items


def describe_images(wanted: Pixels) -> Recipe:
    """Return how images are made into what a network wants: by the source of :mod:`frostline.data.image.viewing`."""
    source = inspect.getsource(viewing).partition(IMPORT)[2].strip()
    return Recipe(wanted.recipe, "data/image/templates/pixels.j2", imports=(IMPORT,), source=source)
