"""Mel spectrograms of whole batches of waves, as librosa, Whisper and Kaldi make them."""

import functools
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from frostline.data.inputs import Ragged
from frostline.data.reading import Recipe, RunData
from frostline.data.speech.reading import SoundReader, describe_sounds
from frostline.data.speech.waves import make_noise, raise_level

COMPRESSIONS = ("none", "log", "whisper")
FLOOR = {"none": 0.0, "log": 1e-10, "whisper": 1e-10}
KALDI_FLOOR = torch.finfo(torch.float32).eps
PREEMPHASIS = 0.97
WHISPER_RANGE = 8.0  # in powers of ten below the loudest


@dataclass(frozen=True)
class Mel:
    """What a network that reads mel frames wants: the power in ``bands`` bands, every ``hop`` samples.

    ``size`` is the length of a wave in samples, at ``rate`` a second; a shorter one is padded to ``least`` at least.
    ``window`` and ``fft`` are in samples; ``low`` and ``high`` in hertz (high: half the rate). ``kaldi`` takes frames
    and filters as Kaldi does (whole frames only, each without its mean, with pre-emphasis; HTK's scale), else they are
    librosa's (frames centred on their samples with zeros, or the wave reflected, around them; Slaney's scale).
    ``compression``: ``none``, ``log`` (natural) or ``whisper`` (base 10, 8 powers at most, about -1 to 1). ``level``
    raises quieter waves to so many decibels of full scale. Frames that begin after the end of a wave are 0, or what
    silence gives where ``blank`` is false; with ``whole`` they count as real, for a network that knows no mask. All
    are standardised by ``mean`` and ``std`` in the end. The network makes one step of every ``stride`` frames.
    """

    modality: ClassVar[str] = "speech"
    any_length: ClassVar[bool] = False

    size: int
    rate: int = 16000
    bands: int = 80
    window: int = 400
    hop: int = 160
    fft: int = 400
    low: float = 0.0
    high: float | None = None
    kaldi: bool = False
    reflect: bool = False
    compression: str = "log"
    level: float | None = None
    least: int = 0
    blank: bool = True
    whole: bool = False
    mean: float = 0.0
    std: float = 1.0
    stride: int = 1

    @property
    def normalisation(self) -> str:
        return ""

    def example(self, count: int, size: int) -> Ragged:
        """Return the frames [count, T, bands] of noise of ``size`` samples, each but the first a little shorter."""
        return self.encode(make_noise(count, size))

    def frames(self, samples: Tensor) -> Tensor:
        """Return how many frames so many samples [...] make."""
        if self.kaldi:
            return (1 + (samples - self.window) // self.hop).clamp(min=1)
        if self.compression == "whisper":
            return (samples // self.hop).clamp(min=1)
        return 1 + samples // self.hop

    def steps(self, samples: Tensor) -> Tensor:
        """Return how many steps a network makes of so many samples [...], where each gives a letter at most."""
        return -(-self.frames(samples) // self.stride)

    def reader(self, run: RunData) -> SoundReader:
        return SoundReader(self, run)

    def describe(self, folder: Path) -> Recipe:
        """Return how frames are made outside of Frostline; the filters of their bands are written into ``folder``."""
        np.save(folder / "filters.npy", self._filters.numpy())
        values = {
            "kaldi": self.kaldi,
            "reflect": self.reflect,
            "compression": self.compression,
            "floor": KALDI_FLOOR if self.kaldi else FLOOR[self.compression],
            "preemphasis": PREEMPHASIS,
            "range": WHISPER_RANGE,
        }
        return describe_sounds(type(self).__name__, asdict(self), values)

    @property
    def _filters(self) -> Tensor:
        return make_filters(self.rate, self.fft, self.bands, self.low, self.high or self.rate / 2, self.kaldi)

    def encode(self, waves: Ragged) -> Ragged:
        """Return the frames [B, T, bands] of waves [B, N]."""
        if self.level is not None:
            waves = raise_level(waves, self.level)
        values = waves.pad(self._least).values
        power = self._kaldi(values) if self.kaldi else self._librosa(values)
        mels = power @ self._filters
        frames = Ragged(self._compress(mels), self.frames(waves.lengths))
        if self.blank:
            frames = frames.map(lambda values: values * frames.mask[:, :, None])
        lengths = torch.full_like(frames.lengths, frames.values.shape[1]) if self.whole else frames.lengths
        return Ragged((frames.values - self.mean) / self.std, lengths)

    @property
    def _least(self) -> int:
        return max(self.least, self.window)

    def _librosa(self, values: Tensor) -> Tensor:
        """Return the power spectrum [B, T, F] of frames centred on every ``hop``-th sample."""
        spectrum = torch.stft(
            values,
            self.fft,
            self.hop,
            self.window,
            torch.hann_window(self.window),
            pad_mode="reflect" if self.reflect else "constant",
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        return power[:, :-1] if self.compression == "whisper" else power

    def _kaldi(self, values: Tensor) -> Tensor:
        """Return the power spectrum [B, T, F] of whole frames (Povey et al. 2011, The Kaldi Toolkit)."""
        frames = values.unfold(1, self.window, self.hop)
        frames = frames - frames.mean(-1, keepdim=True)
        frames = frames - PREEMPHASIS * torch.cat([frames[..., :1], frames[..., :-1]], -1)
        spectrum = torch.fft.rfft(frames * torch.hann_window(self.window, periodic=False), self.fft)
        return torch.view_as_real(spectrum).square().sum(-1)

    def _compress(self, mels: Tensor) -> Tensor:
        if self.compression == "none":
            return mels
        if self.compression == "log":
            return mels.clamp(min=KALDI_FLOOR if self.kaldi else FLOOR["log"]).log()
        logs = mels.clamp(min=FLOOR["whisper"]).log10()
        return (logs.maximum(logs.amax((1, 2), keepdim=True) - WHISPER_RANGE) + 4) / 4


@functools.lru_cache(maxsize=16)
def make_filters(rate: int, fft: int, bands: int, low: float, high: float, kaldi: bool) -> Tensor:
    """Return the triangular filters [F, bands] of Slaney's scale with equal areas, or of HTK's as Kaldi has them."""
    edges = torch.linspace(_mels(low, kaldi), _mels(high, kaldi), bands + 2, dtype=torch.float64)
    bins = torch.linspace(0, rate / 2, fft // 2 + 1, dtype=torch.float64)
    if kaldi:  # its triangles are straight on the mel scale, librosa's in hertz
        bins = torch.tensor([_mels(value, True) for value in bins.tolist()], dtype=torch.float64)
    else:
        edges = torch.tensor([_hertz(value) for value in edges.tolist()], dtype=torch.float64)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles if kaldi else triangles * 2 / (edges[2:] - edges[:-2])).float()


_LINEAR = 3 / 200  # mels a hertz below 1000 Hz on Slaney's scale
_OCTAVES = 27 / math.log(6.4)


def _mels(hertz: float, kaldi: bool) -> float:
    if kaldi:
        return 1127 * math.log1p(hertz / 700)
    return hertz * _LINEAR if hertz < 1000 else 15 + math.log(hertz / 1000) * _OCTAVES


def _hertz(mels: float) -> float:
    return mels / _LINEAR if mels < 15 else 1000 * math.exp((mels - 15) / _OCTAVES)
