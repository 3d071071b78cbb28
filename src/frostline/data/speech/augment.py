"""Random changes of recordings, each a pure function of (seed, sample index, view): of the wave, and of its frames."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from frostline.data.inputs import Ragged
from frostline.data.order import stable_seed
from frostline.errors import UserError


class Sound(nn.Module):
    """A random change of a recording: of its ``wave`` [n], of its ``frames`` [T, bands], or of both.

    Derive from it for one of your own, which draws from torch's global generator and keeps shape and type. ``masks``
    tells that it needs frames: it is refused where the backbone takes waves.
    """

    masks = False

    def wave(self, wave: Tensor) -> Tensor:
        return wave

    def frames(self, frames: Tensor) -> Tensor:
        return frames


class Wave(Sound):
    """Louder or softer, earlier or later, with noise: what differs between recordings, whatever is said in them.

    ``gain`` is the most decibels up or down, ``shift`` the largest part of its length by which a wave moves (what
    leaves is lost, what comes is silence), ``snr`` the least decibels by which it is above white noise, drawn from
    there to 30 more; null: no noise. Raises UserError when a strength is out of range.
    """

    def __init__(self, gain: float, shift: float, snr: float | None) -> None:
        super().__init__()
        if gain < 0:
            raise UserError(f"augment.gain: {gain} is not a number of decibels of 0 or more.")
        _check_share("shift", shift)
        self.gain, self.shift, self.snr = gain, shift, snr

    def wave(self, wave: Tensor) -> Tensor:
        up, move, noise = torch.rand(3).tolist()
        wave = move_wave(wave, round((2 * move - 1) * self.shift * len(wave)))
        if self.snr is not None:
            level = wave.square().mean().sqrt() * 10 ** (-(self.snr + 30 * noise) / 20)
            wave = wave + level * torch.randn_like(wave)
        return wave * 10 ** ((2 * up - 1) * self.gain / 20)


def move_wave(wave: Tensor, by: int) -> Tensor:
    """Return a wave [n] that comes ``by`` samples later, with silence before it, or earlier."""
    other = torch.zeros_like(wave)
    if by >= 0:
        other[by:] = wave[: len(wave) - by]
    else:
        other[:by] = wave[-by:]
    return other


class SpecAugment(Wave):
    """``times`` stretches of frames and ``bands`` stretches of bands set to the recording's mean, after Wave's changes.

    Each is as wide as a random part of all, up to ``time_width`` and ``band_width``. Park et al. 2019, SpecAugment,
    arXiv:1904.08779, without warping.
    """

    masks = True

    def __init__(
        self,
        times: int,
        time_width: float,
        bands: int,
        band_width: float,
        gain: float,
        shift: float,
        snr: float | None,
    ) -> None:
        super().__init__(gain, shift, snr)
        _check_share("time_width", time_width)
        _check_share("band_width", band_width)
        self.times, self.time_width, self.bands, self.band_width = times, time_width, bands, band_width

    def frames(self, frames: Tensor) -> Tensor:
        masked, mean = frames.clone(), frames.mean()
        for _ in range(self.times):
            masked[_stretch(len(frames), self.time_width)] = mean
        for _ in range(self.bands):
            masked[:, _stretch(frames.shape[1], self.band_width)] = mean
        return masked


def _stretch(n: int, most: float) -> slice:
    width, place = torch.rand(2).tolist()
    count = int(width * (most * n + 1))
    start = int(place * (n - count + 1))
    return slice(start, start + count)


def _check_share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"augment.{key}: {value} is not a share; it lies between 0 and 1.")


def augment_sequences(
    change: Callable[[Tensor], Tensor], inputs: Ragged, indices: Tensor, seed: int, view: int, stage: str
) -> Ragged:
    """Return sequences [B, T, ...] changed where they are real, each as (seed, its index, view, stage) says.

    The global generator is left as it was; only the CPU's is seeded, as
    :func:`frostline.data.image.augment.augment_images` does.
    """
    made = inputs.values.clone()
    with torch.random.fork_rng(devices=[]):
        for row, (index, length) in enumerate(zip(indices.tolist(), inputs.lengths.tolist(), strict=True)):
            torch.default_generator.manual_seed(stable_seed(seed, index, view, stage))
            real = inputs.values[row, :length]
            other = change(real)
            if other.shape != real.shape or other.dtype != real.dtype:
                raise UserError(
                    f"augment: {getattr(change, '__qualname__', change)} made {other.dtype} {tuple(other.shape)} of "
                    f"{real.dtype} {tuple(real.shape)}; it must keep size and type."
                )
            made[row, :length] = other
    return Ragged(made, inputs.lengths)
