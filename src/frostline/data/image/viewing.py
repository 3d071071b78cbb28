"""From an opened picture to the square of bytes that a network is given, as a viewer would show it.

The source of these functions also stands in the programs that ``frostline export`` writes: they need numpy and Pillow
alone, and find all that they must know in a mapping (``Pixels.recipe`` here, preprocessing.json there).
"""

import numpy as np
from PIL import Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WIDE = "IF"
"""How the names of Pillow's modes begin whose values have more than 8 bits."""


def make_square(image: Image.Image, wanted: dict) -> np.ndarray:
    """Return [3, S, S] of a picture: upright, in bytes, on a ground, and fitted into the square, in this order."""
    rescale_clear(image)
    image.load()
    turn = TURNS.get(read_orientation(image))
    image = put_on_ground(to_bytes(image, *wanted["span"]), tuple(wanted["background"]))
    if turn is not None:
        image = image.transpose(turn)
    return np.asarray(fit(image, wanted)).transpose(2, 0, 1)


def read_orientation(image: Image.Image) -> int:
    """Return how a viewer turns a picture, in EXIF's numbers; 1: not at all. A PNG may say it after its pixels only."""
    try:
        return Image.Image.getexif(image).get(0x0112, 1)  # that of PNG would decode the picture
    except Exception:  # EXIF that is damaged says nothing, and anything may be raised on hostile bytes
        return 1


def rescale_clear(image: Image.Image) -> None:
    """Give the transparent colour of a PNG, not loaded yet, the scale of its pixels: Pillow leaves it as it stands."""
    clear = image.info.get("transparency")
    if image.format != "PNG" or clear is None:
        return
    layout = image.tile[0][3]  # type: ignore[attr-defined]
    if layout in ("L;2", "L;4"):
        image.info["transparency"] = clear * (85 if layout == "L;2" else 17)
    elif layout == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def to_bytes(image: Image.Image, low: float, high: float) -> Image.Image:
    """Return a picture whose values have more than 8 bits in 8: ``low`` becomes 0 and ``high`` 255."""
    if image.mode[0] not in WIDE:
        return image
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("some values are no numbers")
    scaled = np.clip(np.round((values - low) * (255 / (high - low))), 0, 255)
    grey = Image.fromarray(scaled.astype(np.uint8))
    if (clear := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def put_on_ground(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Return a picture in RGB; what is transparent shows the ground of that ``colour``."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layers = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (*colour, 255)), layers).convert("RGB")


def fit(image: Image.Image, wanted: dict) -> Image.Image:
    """Return a square of ``size`` pixels a side, cut out at the centre of a picture that is resized.

    ``crop`` resizes the short side to ``resized`` pixels and cuts off what is longer, exactly as timm does in
    evaluation; ``squash`` both sides; ``pad`` the long side, and adds ground to the short one.
    """
    size, side, way = wanted["size"], wanted["resized"], wanted["fit"]
    base = max(image.size) if way == "pad" else min(image.size)
    width, height = (side if way == "squash" else max(1, int(side * each / base)) for each in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling[wanted["interpolation"].upper()])
    left, top = round((width - size) / 2), round((height - size) / 2)
    if way != "pad":
        return image.crop((left, top, left + size, top + size))
    square = Image.new("RGB", (size, size), tuple(wanted["background"]))
    square.paste(image, (-left, -top))
    return square
