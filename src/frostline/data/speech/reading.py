"""New recordings, read as those of a run's test split were."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frostline.data.folders import RECORDINGS
from frostline.data.reading import Batch, Item, Reader, Recipe, RunData, make_batch
from frostline.data.speech.hearing import Hearing, pad_waves
from frostline.data.speech.sound import (
    MARGIN,
    Extent,
    Unusable,
    describe_losses,
    read_shape,
    read_wave,
    soundfile,
)
from frostline.data.threads import run_in_threads

MIN_SECONDS = 0.1
"""How short a new recording may be for a network that was trained on data of the user's own."""


class SoundReader(Reader[Hearing]):
    """Reads sound files."""

    kind = RECORDINGS
    noun, argument = "sounds", "FILE"

    def __init__(self, preprocess: Hearing, run: RunData) -> None:
        self.preprocess, self.run = preprocess, run
        least = run.options.get("min_seconds", MIN_SECONDS)
        self.extent = Extent(preprocess.rate, preprocess.size, least, whole=run.whole)

    def read(self, items: Sequence[Item]) -> Batch:
        found = run_in_threads(self._attempt, [item.content for item in items])
        reasons = [one if isinstance(one, str) else None for one in found]
        heard = [one for one in found if not isinstance(one, str)]
        waves, size = [wave for wave, _ in heard], self.extent.size
        lost = Counter(what for _, losses in heard for what in losses)
        return make_batch(items, reasons, lambda: self.preprocess.encode(pad_waves(waves, size)), lost)

    def _attempt(self, path: str) -> tuple[Tensor, list[str]] | str:
        """Return a wave [n] and what is lost of it, or why it cannot be used."""
        try:
            return torch.from_numpy(read_wave(path, self.extent)), describe_losses(read_shape(path), self.extent)
        except Unusable as error:
            return str(error)

    def make_samples(self, folder: Path) -> list[Item]:
        """Return files of noise, at the network's rate and another, as long as is kept and shorter."""
        made, items, longest = np.random.default_rng(0), [], self.extent.seconds
        for rate, seconds in ((16000, max(2 * self.extent.least, longest / 4)), (16000, longest), (22050, longest / 2)):
            path = folder / f"{rate}_{seconds:.3f}.wav"
            noise = 0.1 * made.standard_normal(round(rate * seconds), np.float32)
            soundfile().write(path, noise, rate)
            items.append(Item(path.name, str(path)))
        return items


def describe_sounds(kind: str, wanted: dict[str, Any], values: Mapping[str, Any] = MappingProxyType({})) -> Recipe:
    """Return how recordings are made into what ``kind`` of preprocessing wants, outside of Frostline."""
    return Recipe(
        wanted,
        "data/speech/templates/waves.j2",
        imports=("import soundfile", "import soxr"),
        plain_imports=("import math",),
        values={"margin": MARGIN, "kind": kind, **values},
    )
