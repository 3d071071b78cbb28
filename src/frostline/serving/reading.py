"""From new samples to a batch of what a network takes, exactly as in the test split of its run."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from frostline.data.image.datasets import ImageOptions
from frostline.data.image.headers import count_losses, limits_for
from frostline.data.image.pixels import decode_all, in_threads, prepared
from frostline.data.inputs import Inputs, Pixels, padded
from frostline.data.speech.datasets import AudioOptions
from frostline.data.speech.recordings import Hearing, full
from frostline.data.speech.sound import Extent, Unusable, read, read_shape
from frostline.data.speech.sound import describe_losses as lost_sound
from frostline.data.tables.rows import find_flaw
from frostline.data.text.encoded import Writing, count_cut
from frostline.data.text.rendering import Rendered
from frostline.serving.restored import Restored
from frostline.serving.sources import Item


class Batch(NamedTuple):
    """Samples that could be read, as one batch (None: there are none), and a line for each that could not.

    ``lost`` counts what was changed or lost of those on reading.
    """

    names: list[str]
    inputs: Inputs | None
    bad: list[str]
    lost: Mapping[str, int] = {}


Read = Callable[[Sequence[Item]], Batch]


def reader(model: Restored) -> Read:
    """Return what reads samples for a network; what it wants of them decides their modality."""
    data, preprocess = model.config.data, model.backbone.preprocess
    if preprocess.modality == "image":
        return _images(pixels(model), data)
    if preprocess.modality == "text":
        return _texts(cast(Writing, preprocess))
    return _sounds(cast(Hearing, preprocess), data, model.task.is_sequence)


def pixels(model: Restored) -> Pixels:
    """Return how images are prepared: the backbone's way, with what the config asked for and the training data showed.

    Records of old know no other fit than the backbone's crop.
    """
    data, preprocess = model.config.data, cast(Pixels, model.backbone.preprocess)
    asked = {"fit": "crop", "crop": preprocess.crop, "background": "white"}
    asked |= {key: data[key] for key in asked if key in data}
    span = model.record["data"].get("span")
    return replace(prepared(preprocess, data.get("size"), **asked), span=None if span is None else tuple(span))


def _images(wanted: Pixels, data: Mapping[str, Any]) -> Read:
    limits = limits_for(wanted, data.get("max_megapixels", ImageOptions.max_megapixels))

    def read_images(items: Sequence[Item]) -> Batch:
        images, seen = decode_all([item.content for item in items], wanted, limits)
        sound = [index for index, one in enumerate(seen) if one.reason is None]
        batch = _batch(items, [one.reason for one in seen], lambda: images[sound])
        return batch._replace(lost=count_losses(seen, wanted))

    return read_images


def _texts(preprocess: Writing) -> Read:
    def read_texts(items: Sequence[Item]) -> Batch:
        reasons = [item.reason or (find_flaw(item.content) if item.content else "has no text") for item in items]
        kept = [index for index, reason in enumerate(reasons) if reason is None]
        texts = [items[index].content for index in kept]
        made = preprocess.encode(texts) if kept else []
        if isinstance(made, Tensor):
            cut = preprocess.cut(texts) if isinstance(preprocess, Rendered) else 0
            lost = {"are longer than their pictures have room for and were cut": cut}
            return _batch(items, reasons, lambda: made)._replace(lost=lost)
        lost = {f"are longer than data.tokens={preprocess.size} and were cut": count_cut(preprocess, texts, made)}
        for index, sequence in zip(kept, made, strict=True):
            if not len(sequence):
                reasons[index] = "has no tokens"
        batch = _batch(items, reasons, lambda: padded([sequence for sequence in made if len(sequence)]))
        return batch._replace(lost=lost)

    return read_texts


def _sounds(preprocess: Hearing, data: Mapping[str, Any], whole: bool) -> Read:
    least = data.get("min_seconds", AudioOptions.min_seconds)
    extent = Extent(preprocess.rate, preprocess.size, least, whole=whole)

    def attempt(path: str) -> tuple[Tensor, list[str]] | str:
        try:
            return torch.from_numpy(read(path, extent)), lost_sound(read_shape(path), extent)
        except Unusable as error:
            return str(error)

    def read_sounds(items: Sequence[Item]) -> Batch:
        found = in_threads(attempt, [item.content for item in items])
        reasons = [one if isinstance(one, str) else None for one in found]
        heard = [one for one in found if not isinstance(one, str)]
        batch = _batch(items, reasons, lambda: preprocess.encode(full([wave for wave, _ in heard], extent.size)))
        return batch._replace(lost=Counter(what for _, lost in heard for what in lost))

    return read_sounds


def _batch(items: Sequence[Item], reasons: Sequence[str | None], make: Callable[[], Inputs]) -> Batch:
    told = list(zip(items, reasons, strict=True))
    names = [item.name for item, reason in told if reason is None]
    bad = [f"{item.name} {reason}" for item, reason in told if reason is not None]
    return Batch(names, make() if names else None, bad)
