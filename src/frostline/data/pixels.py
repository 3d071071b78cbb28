"""From an image file or array to the square of uint8 pixels a backbone wants, and what is wrong where that fails."""

import hashlib
import io
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from frostline.data.inputs import Pixels
from frostline.errors import UserError

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
THREADS = min(8, os.cpu_count() or 1)

R = TypeVar("R")

Images = Sequence[str] | NDArray[np.uint8]
"""Where a split's images are: paths of files, or one array [N, H, W] or [N, H, W, 3]."""


@dataclass(frozen=True)
class Limits:
    """How many pixels an image may have, read or resized: what bounds the memory that one file can take."""

    pixels: int
    short_side: int


def short_side(preprocess: Pixels) -> int:
    """Return the length in pixels to which timm resizes the short side before it crops."""
    return math.floor(preprocess.size / preprocess.crop)


@contextmanager
def _pillow_quiet() -> Iterator[None]:
    """Turn Pillow's warning of a bomb into an error and silence the rest, for all threads started inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def in_threads(function: Callable[[Any], R], items: Iterable[Any]) -> list[R]:
    """Return ``function`` of each item, in order; reading, hashing and decoding all leave Python's lock."""
    with _pillow_quiet(), ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def digest(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an array's shape and values."""
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def problem(path: str, limits: Limits, decode: bool) -> str | None:
    """Return why a file cannot be used, or None; without ``decode`` only its header is read.

    The size is judged before a pixel is decoded. JPEGs are decoded at an eighth of their size, which reads all of
    the file in a fraction of the time.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            reason = _oversized(image, limits)
            if reason is None and decode:
                image.draft("RGB", (1, 1))
                image.load()
            return reason
    except Exception as error:  # a decoder may raise anything on hostile bytes, SyntaxError included
        return _explain(path, error)


def _oversized(image: Image.Image, limits: Limits) -> str | None:
    width, height = image.size
    if width * height > limits.pixels:
        return f"has {width}x{height} pixels, more than data.max_megapixels={limits.pixels / 1e6:g} million"
    if max(image.size) / min(image.size) * limits.short_side**2 > limits.pixels:
        return f"is too long and thin ({width}x{height} pixels) to be resized"
    if image.mode in ("I", "F"):
        return f"has 32-bit pixels (mode {image.mode}), not 8-bit ones"
    return None


def _explain(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "has far too many pixels (more than data.max_megapixels)"
    if not os.path.isfile(path):
        return "is not a file"
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    if not start:
        return "is empty (0 bytes)"
    if start.startswith(b"<") and b"svg" not in start.lower():
        return "is a web page (HTML or XML), not an image"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"is not an image of a known format ({', '.join(FORMATS)})"
    return f"is truncated or damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def square(image: Image.Image, preprocess: Pixels) -> NDArray[np.uint8]:
    """Return [3, S, S]: resized by its short side and cut out at the centre, exactly as timm does in evaluation."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    rgb: Any = image.convert("RGB")
    resized = F.resize(rgb, [short_side(preprocess)], InterpolationMode(preprocess.interpolation))
    return np.asarray(F.center_crop(resized, [preprocess.size])).transpose(2, 0, 1)


def png(pixels: Tensor) -> bytes:
    """Return uint8 pixels [3, H, W] as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


def _read(image: str | NDArray[np.uint8], preprocess: Pixels) -> NDArray[np.uint8]:
    if not isinstance(image, str):
        return square(Image.fromarray(image), preprocess)
    with Image.open(image, formats=FORMATS) as opened:
        return square(opened, preprocess)


def decode_all(images: Images, preprocess: Pixels, limits: Limits) -> tuple[Tensor, list[str | None]]:
    """Return all images as uint8 [N, 3, S, S], decoded by threads, and what is wrong with each that failed."""
    pixels = np.zeros((len(images), 3, preprocess.size, preprocess.size), np.uint8)

    def decode(index: int) -> str | None:
        image = images[index]
        if isinstance(image, str) and (reason := problem(image, limits, decode=False)) is not None:
            return reason
        try:
            pixels[index] = _read(image, preprocess)
        except Exception as error:  # as in ``problem``
            assert isinstance(image, str), error
            return _explain(image, error)
        return None

    reasons = in_threads(decode, range(len(images)))
    return torch.from_numpy(pixels), reasons


def decode_some(images: Images, indices: Sequence[int], preprocess: Pixels) -> Tensor:
    """Return these images as uint8 [B, 3, S, S], decoded now: by threads, or in turn inside a loader's process.

    Raises UserError naming a file that was sound when it was checked and no longer is.
    """

    def decode(index: int) -> NDArray[np.uint8]:
        image = images[index]
        try:
            return _read(image, preprocess)
        except OSError as error:
            assert isinstance(image, str), error
            raise UserError(f"{image} {_explain(image, error)}; it has changed since it was checked.") from error

    if torch.utils.data.get_worker_info() is None:
        return torch.from_numpy(np.stack(in_threads(decode, indices)))
    with _pillow_quiet():
        return torch.from_numpy(np.stack([decode(index) for index in indices]))
