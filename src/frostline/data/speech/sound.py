"""From a sound file to the mono waveform a backbone wants, and what is wrong where that fails."""

import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frostline.data.speech.riff import mend_header, wave
from frostline.errors import UserError
from frostline.files.atomic import describe_irregular

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
ENDLESS = 1 << 62  # libsndfile's number of samples where a header does not say
BLOCK = 1 << 16
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


class Shape(NamedTuple):
    """What a sound file holds: samples of each channel, how many a second, and channels."""

    frames: int
    rate: int
    channels: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


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


def describe_losses(shape: Shape, extent: Extent) -> list[str]:
    """Return what is lost when a recording is read, each as the predicate of a note; usually nothing."""
    lost = {
        f"are longer than data.seconds={extent.seconds:g} and were cut": shape.seconds > extent.seconds,
        "have several channels, which were mixed to one": shape.channels > 1,
        f"have more than {extent.rate} samples a second and lost what is above {extent.rate / 2:g} Hz": (
            shape.rate > extent.rate
        ),
    }
    return [what for what, is_lost in lost.items() if is_lost]


def find_problem(path: str, extent: Extent, decode: bool) -> str | None:
    """Return why a file cannot be used, or None; without ``decode`` only its header is read."""
    try:
        read_wave(path, extent) if decode else _header(path, extent)
    except Unusable as error:
        return str(error)
    return None


def _header(path: str, extent: Extent) -> Shape:
    """Return what the header says. Raises Unusable."""
    shape = read_shape(path)
    low, high = RATES
    if not low <= shape.rate <= high:
        raise Unusable(f"has {shape.rate} samples a second, not {low} to {high}")
    if shape.channels > CHANNELS:
        raise Unusable(f"has {shape.channels} channels, more than {CHANNELS}")
    _check_length(shape.seconds, extent)
    return shape


def read_shape(path: str) -> Shape:
    """Return what a sound file holds, by its header, or by its samples where that does not say. Raises Unusable."""
    with open_sound(path) as sound:
        frames = sound.frames if sound.frames < ENDLESS else sum(map(len, read_blocks(sound, sound.frames)))
        return Shape(frames, sound.samplerate, sound.channels)


@contextmanager
def open_sound(path: str) -> Iterator[Any]:
    """Open a sound file; one whose header does not say its length is given one that does. Raises Unusable."""
    _check_file(path)
    library = soundfile()
    try:
        with open(path, "rb") as file, ExitStack() as stack:
            found = wave(file)
            if found is not None and found.promised > found.size:
                raise Unusable(f"is truncated ({found.size} of {found.promised} bytes)")
            source = stack.enter_context(mend_header(file, found)) if found is not None and found.streamed else path
            with library.SoundFile(source) as sound:
                yield sound
    except (library.LibsndfileError, OSError) as error:
        raise Unusable(f"is damaged or not a {FORMATS} file ({_reason(error)})") from error


def read_blocks(sound: Any, frames: int) -> Iterator[NDArray[np.float32]]:
    """Yield the samples [n, channels] of an open file, ``frames`` at most.

    A stream of FLAC may not say where it ends; libsndfile then gives its last samples, and fails to stand behind them.
    """
    while frames > 0:
        block = np.full((min(BLOCK, frames), sound.channels), np.nan, np.float32)
        try:
            got = len(sound.read(out=block))
        except soundfile().LibsndfileError:
            if sound.frames < ENDLESS:
                raise
            got = int((~np.isnan(block[:, 0])).sum())
        yield block[:got]
        frames = frames - got if got == len(block) else 0


def _check_file(path: str) -> None:
    """Refuse what is no sound file by its first bytes: the decoder of MP3 would take anything, and complain aloud."""
    if not os.path.exists(path):
        raise Unusable("does not exist")
    if (what := describe_irregular(path)) is not None:
        raise Unusable(what)
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


def read_wave(path: str, extent: Extent) -> NDArray[np.float32]:
    """Return the wave [n] of a file: mono, at ``extent.rate``, its first ``extent.size`` samples at most.

    Raises Unusable for a file that is damaged, holds no numbers, or is silent.
    """
    shape = _header(path, extent)
    wanted = min(math.ceil((extent.seconds + MARGIN) * shape.rate), shape.frames)
    with open_sound(path) as sound:
        samples = np.concatenate([*read_blocks(sound, wanted)])
    if len(samples) < WHOLE * wanted:
        raise Unusable(f"is truncated ({len(samples)} of {shape.frames} samples)")
    made = _resample(samples.mean(axis=1), shape.rate, extent.rate)[: extent.size]
    if not np.isfinite(made).all():
        raise Unusable("holds samples that are no numbers (NaN or infinite)")
    if np.abs(made).max(initial=0) < SILENT:
        raise Unusable(f"is silent in its first {len(made) / extent.rate:.3g} s (below -60 dB)")
    return made


def _resample(wave: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    if rate == wanted:
        return wave
    import soxr

    return soxr.resample(wave, rate, wanted)
