"""What an image file says of itself, whether it can be used, and what is lost of it on reading."""

import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frostline.data.image.viewing import TURNS, WIDE, read_orientation
from frostline.data.inputs import Pixels
from frostline.errors import UserError
from frostline.files.atomic import describe_irregular

Image.init()
FORMATS = tuple(
    name
    for name in ("JPEG", "PNG", "PPM", "BMP", "DIB", "TIFF", "WEBP", "GIF", "AVIF", "JPEG2000")
    if name in Image.OPEN  # AVIF came with Pillow 11.3
)
ANIMATED = ("PNG", "TIFF", "WEBP", "GIF", "AVIF")
"""The formats whose files hold several pictures of one kind; a JPEG's others are a preview or a map of depths."""
HEIF = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftypheis", b"ftypmif1", b"ftypmsf1")
SHALLOW = 63
"""A set of 16-bit colours of which no upper byte is more than this uses 14 bits or fewer."""
CUT = 0.1
"""The share of a side whose loss is counted."""
BEYOND = "hold values beyond those of the training images, which are cut"


class Look(NamedTuple):
    """What was seen of one image: why it cannot be used, or what a note may have to say of it.

    ``size`` is in pixels, as the file has it. ``deep`` images have 16-bit colours, of which Pillow reads the upper
    bytes; ``wide`` ones are grey with values of more than 8 bits. ``extent`` is of these two, where they were decoded:
    the least and the largest value that was read. Of ``flat`` ones all pixels are alike, where they were decoded.
    """

    reason: str | None = None
    size: tuple[int, int] = (1, 1)
    turned: bool = False
    clear: bool = False
    several: bool = False
    deep: bool = False
    wide: bool = False
    extent: tuple[float, float] | None = None
    flat: bool = False


@dataclass(frozen=True)
class Limits:
    """How many pixels an image may have, read or resized: what bounds the memory that one file can take.

    ``short_side`` is the length to which the short side is resized; 0 where the long one is bounded as well.
    """

    pixels: int
    short_side: int


def make_limits(wanted: Pixels, max_megapixels: float) -> Limits:
    """Return the limits of images that are prepared as ``wanted``."""
    return Limits(round(max_megapixels * 1e6), wanted.resized if wanted.fit == "crop" else 0)


def look(path: str, limits: Limits, decode: bool) -> Look:
    """Return what is seen of a file; without ``decode`` only its header is read.

    The size is judged before a pixel is decoded. JPEGs are decoded at an eighth of their size, which reads all of
    the file in a fraction of the time.
    """
    if reason := describe_irregular(path):
        return Look(reason)
    try:
        with Image.open(path, formats=FORMATS) as image:
            seen = look_at(image, limits)
            if decode and seen.reason is None:
                image.draft("RGB", (1, 1))
                image.load()
                seen = seen._replace(extent=measure_extent(image, seen), flat=is_flat(path, image))
            return seen
    except Exception as error:  # a decoder may raise anything on hostile bytes, SyntaxError included
        return Look(explain(path, error))


def look_at(image: Image.Image, limits: Limits) -> Look:
    """Return what the header of an opened file says."""
    layout = str(image.tile[0][3]) if image.tile else ""  # type: ignore[attr-defined]
    return Look(
        explain_size(image, limits),
        image.size,
        turned=read_orientation(image) in TURNS,
        clear=image.has_transparency_data,
        several=image.format in ANIMATED and bool(getattr(image, "is_animated", False)),
        deep=image.mode[0] not in WIDE and ";16" in layout,
        wide=image.mode[0] in WIDE,
    )


def explain_size(image: Image.Image, limits: Limits) -> str | None:
    """Return why an image is too large, or has colours that cannot be read."""
    width, height = image.size
    if not width or not height:
        return "has no pixels"
    if width * height > limits.pixels:
        return f"has {width}x{height} pixels, more than data.max_megapixels={limits.pixels / 1e6:g} million"
    if max(image.size) / min(image.size) * limits.short_side**2 > limits.pixels:
        return f"is too long and thin ({width}x{height} pixels) to be resized by its short side"
    if image.mode == "LAB":
        return "has colours in LAB, which are not read; convert it to RGB"
    return None


def measure_extent(image: Image.Image, seen: Look) -> tuple[float, float] | None:
    """Return the least and the largest value of a decoded image of more than 8 bits; raises ValueError for NaN."""
    if not seen.wide and not seen.deep:
        return None
    values = np.asarray(image)[..., :3] if seen.deep else np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError("some values are no numbers")
    return low, high


def is_flat(path: str, image: Image.Image) -> bool:
    """Return whether all pixels of a decoded file are alike; one that was decoded at less than its size is read whole.

    A fine pattern can be lost at an eighth. A few pixels tell nearly all images that are not flat.
    """
    width, height = image.size
    few = {image.getpixel((place * (width - 1) // 7, place * (height - 1) // 7)) for place in range(8)}
    if len(few) > 1 or not has_one_value(np.asarray(image)):
        return False
    with Image.open(path, formats=FORMATS) as whole:
        return whole.size == image.size or has_one_value(np.asarray(whole))


def has_one_value(pixels: NDArray[Any]) -> bool:
    """Return whether all pixels [H, W, ...] are alike."""
    rows = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1)
    return bool((rows == rows[0]).all())


def explain(path: str, error: Exception) -> str:
    """Return why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "has far too many pixels (more than data.max_megapixels)"
    if not os.path.isfile(path):
        return "is not a file"
    with open(path, "rb") as file:
        start = file.read(64)
    if not start.strip():
        return "is empty (0 bytes)" if not start else "is not an image (it holds spaces alone)"
    if start.lstrip().startswith(b"<") and b"svg" not in start.lower():
        return "is a web page (HTML or XML), not an image"
    if isinstance(error, Image.UnidentifiedImageError):
        if start[4:12] in HEIF:
            return "is a HEIF picture (.heic), which Pillow does not read; convert it to JPEG or PNG"
        return f"is not an image of a known format ({', '.join(FORMATS)})"
    return f"is truncated or damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def find_span(looks: Iterable[Look], where: str) -> tuple[float, float] | None:
    """Return the values that become black and white in the grey training images of more than 8 bits, None without any.

    They are 0 and the largest number of as many bits as the set uses, at least 8 (of fractions: 0 and 1), so that
    10 bits in 16 keep all their contrast. A set that fills less than a quarter of that, temperatures for one, is given
    its own least and largest value. Raises UserError where 16-bit colours use the lower bits alone: they are not read.
    """
    seen = [one for one in looks if one.extent is not None]
    colours = [one.extent[1] for one in seen if one.deep and one.extent]
    if colours and max(colours) <= SHALLOW:
        raise UserError(
            f"{where}: the 16-bit colours of {len(colours)} images use their lower bits alone, of which Pillow reads "
            "nothing; convert them to 8 bits a colour."
        )
    extents = [one.extent for one in seen if one.wide and one.extent]
    if not extents:
        return None
    low, high = min(one[0] for one in extents), max(one[1] for one in extents)
    top = 1.0 if 0 <= low and high <= 1 else float(2 ** max(8, math.ceil(math.log2(max(high, 1) + 1))) - 1)
    if low >= 0 and high - low >= top / 4:
        return 0.0, top
    return low, high if high > low else low + 1


def count_losses(looks: Iterable[Look], wanted: Pixels) -> Counter[str]:
    """Return how many images are changed when they are read, and how, by the predicate that says it in a note."""
    low, high = wanted.recipe["span"]
    found: Counter[str] = Counter()
    for seen in looks:
        if seen.reason is not None:
            continue
        long, short = max(seen.size), min(seen.size)
        said = {
            "are turned as their EXIF says": seen.turned,
            "may be transparent: they are put on data.background": seen.clear,
            "hold several frames or pages, of which the first is read": seen.several,
            "have 16-bit colours, of which the upper 8 bits are read": seen.deep,
            f"have more than 8 bits a value: {low:g} to {high:g} become 0 to 255": seen.wide,
            BEYOND: exceeds_span(seen, wanted),
            f"lose more than a tenth of a side to data.fit={wanted.fit} data.crop={wanted.crop:g}; data.fit=pad or "
            "squash with data.crop=1 keeps all of them": 1 - measure_kept_share(long, short, wanted) > CUT,
        }
        found.update(text for text, true in said.items() if true)
    return found


def exceeds_span(seen: Look, wanted: Pixels) -> bool:
    """Return whether a decoded image of more than 8 bits has values that are not among those made black to white."""
    low, high = wanted.recipe["span"]
    return seen.wide and seen.extent is not None and not low <= seen.extent[0] <= seen.extent[1] <= high


def measure_kept_share(long: int, short: int, wanted: Pixels) -> float:
    """Return how much of a picture's long side is kept."""
    kept = wanted.size / wanted.resized
    return kept * short / long if wanted.fit == "crop" else kept
