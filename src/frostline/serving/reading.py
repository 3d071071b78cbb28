"""From new samples to a batch of what a network takes, exactly as in the test split of its run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from frostline.data.audio import AudioOptions
from frostline.data.encoded import Writing
from frostline.data.image import ImageOptions
from frostline.data.inputs import Inputs, Pixels, padded
from frostline.data.pixels import Limits, decode_all, in_threads, short_side
from frostline.data.recordings import Hearing, full
from frostline.data.sound import Extent, Unusable, read
from frostline.data.tables import flaw
from frostline.serving.restored import Restored
from frostline.serving.sources import Item


class Batch(NamedTuple):
    """Samples that could be read, as one batch (None: there are none), and a line for each that could not."""

    names: list[str]
    inputs: Inputs | None
    bad: list[str]


Read = Callable[[Sequence[Item]], Batch]


def reader(model: Restored) -> Read:
    """Return what reads samples for a network; what it wants of them decides their modality."""
    data, preprocess = model.config["data"], model.backbone.preprocess
    if preprocess.modality == "image":
        return _images(cast(Pixels, preprocess), data)
    if preprocess.modality == "text":
        return _texts(cast(Writing, preprocess))
    return _sounds(cast(Hearing, preprocess), data, model.task.whole)


def pixels(preprocess: Pixels, data: Mapping[str, Any]) -> Pixels:
    """Return how images are prepared: the backbone's way, at the size that a config asks for."""
    return preprocess if data.get("size") is None else replace(preprocess, size=data["size"])


def _images(preprocess: Pixels, data: Mapping[str, Any]) -> Read:
    wanted = pixels(preprocess, data)
    limits = Limits(round(data.get("max_megapixels", ImageOptions.max_megapixels) * 1e6), short_side(wanted))

    def read_images(items: Sequence[Item]) -> Batch:
        images, reasons = decode_all([item.content for item in items], wanted, limits)
        sound = [index for index, reason in enumerate(reasons) if reason is None]
        return _batch(items, reasons, lambda: images[sound])

    return read_images


def _texts(preprocess: Writing) -> Read:
    def read_texts(items: Sequence[Item]) -> Batch:
        reasons = [item.reason or (flaw(item.content) if item.content else "has no text") for item in items]
        kept = [index for index, reason in enumerate(reasons) if reason is None]
        made = preprocess.encode([items[index].content for index in kept]) if kept else []
        if isinstance(made, Tensor):
            return _batch(items, reasons, lambda: made)
        for index, sequence in zip(kept, made, strict=True):
            if not len(sequence):
                reasons[index] = "has no tokens"
        return _batch(items, reasons, lambda: padded([sequence for sequence in made if len(sequence)]))

    return read_texts


def _sounds(preprocess: Hearing, data: Mapping[str, Any], whole: bool) -> Read:
    least = data.get("min_seconds", AudioOptions.min_seconds)
    extent = Extent(preprocess.rate, preprocess.size, least, whole=whole)

    def attempt(path: str) -> Tensor | str:
        try:
            return torch.from_numpy(read(path, extent))
        except Unusable as error:
            return str(error)

    def read_sounds(items: Sequence[Item]) -> Batch:
        found = in_threads(attempt, [item.content for item in items])
        reasons = [one if isinstance(one, str) else None for one in found]
        waves = [one for one in found if isinstance(one, Tensor)]
        return _batch(items, reasons, lambda: preprocess.encode(full(waves, extent.size)))

    return read_sounds


def _batch(items: Sequence[Item], reasons: Sequence[str | None], make: Callable[[], Inputs]) -> Batch:
    told = list(zip(items, reasons, strict=True))
    names = [item.name for item, reason in told if reason is None]
    bad = [f"{item.name} {reason}" for item, reason in told if reason is not None]
    return Batch(names, make() if names else None, bad)
