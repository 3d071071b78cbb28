"""From a sound file to the mono waveform a backbone wants, and what is wrong where that fails."""

import math
import os
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frostline.errors import UserError

FORMATS = "WAV, FLAC, OGG or MP3"
SIGNATURES = (
    b"RIFF",
    b"RF64",
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\xff\xe2",
    b"\xff\xe3",
    b"\xff\xf2",
    b"\xff\xf3",
    b"\xff\xfa",
)
SIGNATURES += (b"\xff\xfb",)
RATES = (1_000, 768_000)
CHANNELS = 32
SILENT = 1e-3  # 60 dB below full scale
WHOLE = 0.9  # of the samples that a header promises; an MP3's may promise a little too many
MARGIN = 0.1  # seconds read beyond what is kept, for the filter that resamples


@dataclass(frozen=True)
class Extent:
    """How much of a recording is kept: ``size`` samples at ``rate``, of one that lasts ``least`` seconds or more.

    With ``whole`` a recording that would be cut is refused: what is said in it is its label.
    """

    rate: int
    size: int
    least: float
    whole: bool = False

    @property
    def seconds(self) -> float:
        return self.size / self.rate


class Unusable(Exception):
    """A recording that cannot be used; the text says why, with the file as the subject."""


def soundfile() -> Any:
    """Return the package that reads sound; raises UserError where it is not installed."""
    try:
        import soundfile
        import soxr  # noqa: F401 (both come with the extra)
    except ModuleNotFoundError as error:
        raise UserError(
            f"data of speech needs the package {error.name}; install it with: pip install 'frostline[audio]'."
        ) from error
    return soundfile


def problem(path: str, extent: Extent, decode: bool) -> str | None:
    """Return why a file cannot be used, or None; without ``decode`` only its header is read."""
    try:
        read(path, extent) if decode else _header(path, extent)
    except Unusable as error:
        return str(error)
    return None


def _header(path: str, extent: Extent) -> Any:
    """Return what the header says. Raises Unusable."""
    _check_file(path)
    library = soundfile()
    try:
        info = library.info(path)
    except (library.LibsndfileError, OSError) as error:
        raise Unusable(f"is damaged or not a {FORMATS} file ({_reason(error)})") from error
    low, high = RATES
    if not low <= info.samplerate <= high:
        raise Unusable(f"has {info.samplerate} samples a second, not {low} to {high}")
    if info.channels > CHANNELS:
        raise Unusable(f"has {info.channels} channels, more than {CHANNELS}")
    _check_length(info.frames / info.samplerate, extent)
    return info


def _check_file(path: str) -> None:
    """Refuse what is no sound file by its first bytes: the decoder of MP3 would take anything, and complain aloud."""
    if not os.path.exists(path):
        raise Unusable("does not exist")
    if not os.path.isfile(path):
        raise Unusable("is not a file")
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except PermissionError as error:
        raise Unusable("may not be read (permission denied)") from error
    if not start:
        raise Unusable("is empty (0 bytes)")
    if start.lstrip().startswith(b"<"):
        raise Unusable("is a web page (HTML or XML), not sound")
    if not start.startswith(SIGNATURES):
        raise Unusable(f"is not a {FORMATS} file")
    if start.startswith(b"RIFF"):
        (length,) = struct.unpack("<I", start[4:8].ljust(4, b"\0"))
        # a program that writes into a pipe leaves the length at 0 or at the most there is
        if length not in (0, 2**32 - 1) and length > os.path.getsize(path):
            raise Unusable(f"is truncated ({os.path.getsize(path)} of {length + 8} bytes)")


def _check_length(seconds: float, extent: Extent) -> None:
    if seconds == 0:
        raise Unusable("has no samples (truncated?)")
    if seconds < extent.least:
        raise Unusable(f"lasts {seconds:.3g} s, less than data.min_seconds={extent.least:g}")
    if extent.whole and seconds > extent.seconds:
        raise Unusable(f"lasts {seconds:.4g} s, more than data.seconds={extent.seconds:g}, and would lose its words")


def _reason(error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return said.rpartition(": ")[2].rstrip(".")


def seconds(path: str) -> float:
    """Return how long a sound file is, by its header."""
    return float(soundfile().info(path).duration)


def read(path: str, extent: Extent) -> NDArray[np.float32]:
    """Return the wave [n] of a file: mono, at ``extent.rate``, its first ``extent.size`` samples at most.

    Raises Unusable for a file that is damaged, holds no numbers, or is silent.
    """
    info = _header(path, extent)
    wanted = math.ceil((extent.seconds + MARGIN) * info.samplerate)
    library = soundfile()
    try:
        samples, _ = library.read(path, frames=min(wanted, info.frames), dtype="float32", always_2d=True)
    except (library.LibsndfileError, OSError) as error:
        raise Unusable(f"is damaged ({_reason(error)})") from error
    if len(samples) < WHOLE * min(wanted, info.frames):
        raise Unusable(f"is truncated ({len(samples)} of {info.frames} samples)")
    wave = _resampled(samples.mean(axis=1), info.samplerate, extent.rate)[: extent.size]
    if not np.isfinite(wave).all():
        raise Unusable("holds samples that are no numbers (NaN or infinite)")
    if np.abs(wave).max(initial=0) < SILENT:
        raise Unusable(f"is silent in its first {len(wave) / extent.rate:.3g} s (below -60 dB)")
    return wave


def _resampled(wave: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    if rate == wanted:
        return wave
    import soxr

    return soxr.resample(wave, rate, wanted)
