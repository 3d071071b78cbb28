"""Waveforms as a speech network wants them: at its rate, at its length, and scaled as it was trained."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from frostline.data.inputs import Ragged, make_generator
from frostline.data.reading import Recipe, RunData
from frostline.data.speech.reading import SoundReader, describe_sounds


@dataclass(frozen=True)
class Waves:
    """What a network that reads samples of sound wants, as wav2vec 2.0 does.

    ``size`` is in samples, of which there are ``rate`` a second. ``standardise`` gives each wave the mean 0 and the
    variance 1 over what is real of it. All are padded to ``size``, so that what a network makes of a sample never
    depends on those beside it, even where it normalises over time and knows no mask. ``convolutions`` are the kernels
    and strides of those that make its steps.
    """

    modality: ClassVar[str] = "speech"
    any_length: ClassVar[bool] = False

    size: int
    rate: int = 16000
    standardise: bool = False
    convolutions: tuple[tuple[int, int], ...] = ()

    @property
    def normalisation(self) -> str:
        return ""

    def example(self, count: int, size: int) -> Ragged:
        """Return noise [count, size], each but the first a little shorter."""
        return self.encode(make_noise(count, size))

    def steps(self, samples: Tensor) -> Tensor:
        """Return how many steps a network makes of so many samples [...], where each gives a letter at most."""
        for kernel, stride in self.convolutions:
            samples = (samples - kernel) // stride + 1
        return samples

    def reader(self, run: RunData) -> SoundReader:
        return SoundReader(self, run)

    def describe(self, folder: Path) -> Recipe:
        return describe_sounds(type(self).__name__, asdict(self))

    def encode(self, waves: Ragged) -> Ragged:
        """Return waves [B, N] as the network wants them."""
        if not self.standardise:
            return waves
        kept = waves.mask
        lengths = waves.lengths[:, None]
        centred = torch.where(kept, waves.values - sum_real(waves.values, kept) / lengths, 0.0)
        variance = sum_real(centred.square(), kept) / lengths
        return Ragged(centred / (variance + 1e-7).sqrt(), waves.lengths)


def sum_real(values: Tensor, kept: Tensor) -> Tensor:
    """Return the sums [B, 1] over what is real, in double precision: a wave has many samples."""
    return torch.where(kept, values, 0.0).double().sum(1, keepdim=True).float()


def make_noise(count: int, size: int) -> Ragged:
    """Return the same noise each time, as waves [count, size] of which the last is half as long as the first."""
    lengths = size - torch.arange(count) * (size // 2) // max(1, count - 1)
    waves = Ragged(torch.randn(count, size, generator=make_generator()) / 10, lengths)
    return waves.map(lambda values: values * waves.mask)


def raise_level(waves: Ragged, level: float) -> Ragged:
    """Return waves [B, N] of which the quiet ones are raised to ``level``, in decibels of full scale."""
    root = (sum_real(waves.values.square(), waves.mask) / waves.lengths[:, None]).sqrt()
    gain = 10 ** (level / 20) / root.clamp(min=1e-10)
    return Ragged(waves.values * gain.clamp(min=1.0), waves.lengths)
