"""From image files or arrays to squares of uint8 pixels, by threads, and what is wrong where that fails."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch import Tensor

from frostline.data.image.headers import FORMATS, Limits, Look, explain, look, look_at, measure_extent
from frostline.data.image.viewing import make_square
from frostline.data.index import DataIndex, read_digests
from frostline.data.inputs import Pixels
from frostline.data.threads import run_in_threads
from frostline.errors import UserError, make_choice_error
from frostline.files.atomic import describe_irregular

PIPELINE = 3
"""Raised by hand when the way from a file to pixels changes, so that no old cache entry is taken for a new one."""

FITS = ("crop", "squash", "pad")

T = TypeVar("T")
R = TypeVar("R")

Images = Sequence[str] | NDArray[np.uint8]
"""Where a split's images are: paths of files, or one array [N, H, W] or [N, H, W, 3]."""


def adapt_pixels(preprocess: Pixels, size: int | None, fit: str, crop: float | None, background: str) -> Pixels:
    """Return a backbone's preprocessing with what ``data`` asks for in place of its own.

    Raises UserError naming the key whose value is invalid.
    """
    if fit not in FITS:
        raise make_choice_error("data.fit", fit, FITS)
    if crop is not None and not 0 < crop <= 1:
        raise UserError(f"data.crop: {crop} is not a share of a side that is kept; it is above 0, at most 1.")
    try:
        colour = ImageColor.getrgb(background)
    except ValueError:
        colour = ()
    if len(colour) != 3:
        raise UserError(f"data.background: {background!r} is no opaque colour; give a name or #rrggbb, such as white.")
    size, crop = size or preprocess.size, preprocess.crop if crop is None else crop
    return replace(preprocess, size=size, crop=crop, fit=fit, background=colour)


@contextmanager
def _pillow_quiet() -> Iterator[None]:
    """Turn Pillow's warning of a decompression bomb into an error and hide its others, in all threads begun inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode_in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return the results of ``function``, which uses Pillow, for each item, in order."""
    with _pillow_quiet():
        return run_in_threads(function, items)


def look_at_all(images: Images, limits: Limits, index: DataIndex, decode: bool) -> list[Look]:
    """Return what is seen of each image; arrays are never wrong. Files that are known are not opened."""
    if not isinstance(images, Sequence):
        return [Look(size=(images.shape[2], images.shape[1]))] * len(images)
    question = f"image {PIPELINE}: {'seen in full' if decode else 'seen by its header'} {limits}"
    seen = index.ask(
        question, images, lambda paths: decode_in_threads(lambda path: [*look(path, limits, decode)], paths)
    )
    return [Look(*one) for one in seen]


def hash_images(images: Images, index: DataIndex) -> list[str]:
    """Return the SHA-256 of each file's content, or of each array's shape and values."""
    return read_digests(index, images) if isinstance(images, Sequence) else run_in_threads(digest, images)


def digest(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an array's shape and values."""
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def encode_png(pixels: Tensor) -> bytes:
    """Return uint8 pixels [3, H, W] as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


def decode_all(images: Images, preprocess: Pixels, limits: Limits) -> tuple[Tensor, list[Look]]:
    """Return all images as uint8 [N, 3, S, S], decoded by threads, and what was seen of each; failed ones are black.

    In memory the channels come last, as in what decoders make and in what convolutions take.
    """
    pixels = np.zeros((len(images), preprocess.size, preprocess.size, 3), np.uint8).transpose(0, 3, 1, 2)
    recipe = preprocess.recipe

    def decode(index: int) -> Look:
        image = images[index]
        if not isinstance(image, str):
            pixels[index] = make_square(Image.fromarray(image), recipe)
            return Look(size=(image.shape[1], image.shape[0]))
        if reason := describe_irregular(image):
            return Look(reason)
        try:
            with Image.open(image, formats=FORMATS) as opened:
                seen = look_at(opened, limits)
                if seen.reason is None:
                    pixels[index] = make_square(opened, recipe)
                    seen = seen._replace(extent=measure_extent(opened, seen))
                return seen
        except Exception as error:  # a decoder may raise anything on hostile bytes, SyntaxError included
            return Look(explain(image, error))

    seen = decode_in_threads(decode, range(len(images)))
    return torch.from_numpy(pixels), seen


def decode_some(images: Images, indices: Sequence[int], preprocess: Pixels) -> Tensor:
    """Return these images as uint8 [B, 3, S, S], decoded now: by threads, or in turn inside a loader's process.

    Raises UserError naming a file that was sound when it was checked and no longer is.
    """
    recipe = preprocess.recipe

    def decode(index: int) -> NDArray[np.uint8]:
        image = images[index]
        if not isinstance(image, str):
            return make_square(Image.fromarray(image), recipe)
        try:
            with Image.open(image, formats=FORMATS) as opened:
                return make_square(opened, recipe)
        except Exception as error:  # as above
            raise UserError(f"{image} {explain(image, error)}; it has changed since it was checked.") from error

    if torch.utils.data.get_worker_info() is None:
        return _stack(decode_in_threads(decode, indices))
    with _pillow_quiet():
        return _stack([decode(index) for index in indices])


def _stack(squares: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return squares [3, S, S] as one batch, with channels last in memory."""
    return torch.from_numpy(np.stack([square.transpose(1, 2, 0) for square in squares])).permute(0, 3, 1, 2)


def take_images(pixels: Tensor, indices: Tensor) -> Tensor:
    """Return some of the images [N, 3, S, S]; in memory, channels come last in these and in the result.

    Ten times as fast as fancy indexing on bytes.
    """
    return pixels.permute(0, 2, 3, 1).index_select(0, indices).permute(0, 3, 1, 2)
