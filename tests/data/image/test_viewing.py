"""Pictures are read as a viewer shows them: whatever their mode, depth, transparency and orientation."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frostline.data.image.headers import Limits
from frostline.data.image.pixels import decode_all, decode_some
from frostline.data.inputs import Pixels

Array = np.ndarray
Pictures = dict[str, tuple[Image.Image, dict[str, Any], str, Array]]
"""By name: a picture, how and in which format it is saved, and what is to be seen of it as it lies in the file."""

GROUND = (200, 30, 90)
SIDE = 7
CLEAR = 5
"""The value, or the place in the palette, that is transparent where one of them is."""
TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""From the rows and columns of a file to those that are shown, by the table of the EXIF standard."""


def look(fit: str = "crop", size: int = SIDE, crop: float = 1.0, span: Any = None, way: str = "nearest") -> Pixels:
    return Pixels(size, crop, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), way, fit, GROUND, span)


def over(colours: Array, alpha: Array) -> Array:
    """Return what is seen of colours [H, W, 3] of an opacity [H, W] from 0 to 1, on the ground."""
    return colours * alpha[..., None] + np.array(GROUND) * (1 - alpha[..., None])


def grey(values: Array) -> Array:
    return np.repeat(values[..., None], 3, axis=2).astype(float)


def colour_pictures(random: np.random.Generator) -> Pictures:
    """Return pictures in colour and bytes, with and without transparency."""
    rgb, a = (random.integers(0, 256, (SIDE, SIDE, depth), np.uint8) for depth in (3, 1))
    keyed = np.where(random.integers(0, 4, (SIDE, SIDE, 1)) == 0, np.array([1, 2, 3], np.uint8), rgb)
    rgba, seen = Image.fromarray(np.concatenate([rgb, a], axis=2)), over(rgb, a[..., 0] / 255)
    exact = {"lossless": True, "exact": True}
    return {
        "RGB": (Image.fromarray(rgb), {}, "PNG", rgb.astype(float)),
        "RGB in TIFF": (Image.fromarray(rgb), {}, "TIFF", rgb.astype(float)),
        "RGB in WebP": (Image.fromarray(rgb), exact, "WEBP", rgb.astype(float)),
        "RGBA": (rgba, {}, "PNG", seen),
        "RGBA in TIFF": (rgba, {}, "TIFF", seen),
        "RGBA in WebP": (rgba, exact, "WEBP", seen),
        "RGB with a clear colour": (
            Image.fromarray(keyed),
            {"transparency": (1, 2, 3)},
            "PNG",
            over(keyed, 1 - (keyed == (1, 2, 3)).all(axis=2)),
        ),
    }


def few_colours(random: np.random.Generator) -> Pictures:
    """Return pictures with a palette, in grey bytes, and in black and white."""
    one, a = (random.integers(0, most, (SIDE, SIDE), np.uint8) for most in (9, 256))
    colours, opacities = random.integers(0, 256, (9, 3), np.uint8), random.integers(0, 256, 9, np.uint8)
    palette = Image.fromarray(one).convert("P")
    palette.putpalette(colours.tobytes())
    hole, shown = (one != CLEAR).astype(float), colours[one].astype(float)
    with_alpha = Image.fromarray(np.stack([one, a], axis=2))
    return {
        "L": (Image.fromarray(a), {}, "PNG", grey(a)),
        "LA": (with_alpha, {}, "PNG", over(grey(one), a / 255)),
        "L with a clear value": (Image.fromarray(one), {"transparency": CLEAR}, "PNG", over(grey(one), hole)),
        "1": (Image.fromarray(a > 99), {}, "PNG", grey(255.0 * (a > 99))),
        "P": (palette, {}, "PNG", shown),
        "P with a clear place": (palette, {"transparency": CLEAR}, "PNG", over(shown, hole)),
        "P with opacities": (palette, {"transparency": opacities.tobytes()}, "PNG", over(shown, opacities[one] / 255)),
    }


def deep_pictures(random: np.random.Generator) -> Pictures:
    """Return grey pictures of 10 bits a value."""
    deep = random.integers(0, 1024, (SIDE, SIDE), np.uint16)
    seen, key = grey(deep / 1023 * 255), int(deep[3, 3])
    return {
        "I;16": (Image.fromarray(deep), {}, "PNG", seen),
        "I;16 with a clear value": (
            Image.fromarray(deep),
            {"transparency": key},
            "PNG",
            over(seen, (deep != key).astype(float)),
        ),
        "I;16 in TIFF": (Image.fromarray(deep), {}, "TIFF", seen),
        "I;16B in TIFF": (Image.fromarray(deep.astype(">u2")), {}, "TIFF", seen),
        "I in TIFF": (Image.fromarray(deep.astype(np.int32)), {}, "TIFF", seen),
        "F in TIFF": (Image.fromarray(deep.astype(np.float32)), {}, "TIFF", seen),
    }


def pictures(random: np.random.Generator) -> Pictures:
    return colour_pictures(random) | few_colours(random) | deep_pictures(random)


NAMES = sorted(pictures(np.random.default_rng(0)))


@given(name=st.sampled_from(NAMES), orientation=st.integers(1, 8), seed=st.integers(0, 99))
def test_whatever_the_mode_and_orientation_a_picture_is_seen_as_a_viewer_shows_it(
    tmp_path_factory: pytest.TempPathFactory, name: str, orientation: int, seed: int
) -> None:
    image, options, format, expected = pictures(np.random.default_rng(seed))[name]
    path = tmp_path_factory.mktemp("seen") / "picture"  # its content says what it is
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, format, exif=exif, **options)
    found, (seen,) = decode_all([str(path)], look(span=(0, 1023)), Limits(10**6, 0))
    assert seen.reason is None and seen.turned == (orientation > 1)
    assert np.abs(found[0].numpy().transpose(1, 2, 0) - TURNS[orientation](expected)).max() <= 1
    assert torch.equal(decode_some([str(path)], [0], look(span=(0, 1023))), found)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("format", "quality"), [("JPEG", 98), ("AVIF", 98)])
def test_photographs_that_are_turned(tmp_path: Path, format: str, quality: int, orientation: int) -> None:
    if format == "AVIF" and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow does not write AVIF")
    across, down = np.meshgrid(np.linspace(0, 255, 48), np.linspace(0, 255, 32))
    stored = np.stack([across, down, 0 * across], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "picture", format, quality=quality, exif=exif)
    shown = Image.fromarray(np.ascontiguousarray(TURNS[orientation](stored)))
    shown.save(tmp_path / "shown", format, quality=quality)
    (one, other), _ = decode_all([str(tmp_path / name) for name in ("picture", "shown")], look("pad", 32), LIMITS)
    assert (one.int() - other.int()).abs().max() <= 12


LIMITS = Limits(10**6, 0)


def write_png(path: Path, width: int, depth: int, colours: int, rows: Array, clear: bytes = b"") -> None:
    """Write a PNG of rows of bytes, with numbers of bits and kinds of colour that Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colours, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), *([(b"tRNS", clear)] if clear else []), (b"IDAT", content), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_clear_grey_of_few_bits(tmp_path: Path, depth: int) -> None:
    row = int("".join(f"{value:0{depth}b}" for value in [0, 1] * 4), 2).to_bytes(depth, "big")
    write_png(tmp_path / "grey.png", 8, depth, 0, np.frombuffer(row, np.uint8)[None], struct.pack(">H", 1))
    found, _ = decode_all([str(tmp_path / "grey.png")], look("squash", 8), LIMITS)
    assert found[0, :, 3].T.tolist() == [[0, 0, 0], list(GROUND)] * 4


def test_colours_of_print_come_out_right_side_up(tmp_path: Path) -> None:
    """Adobe writes the inks of a CMYK JPEG inverted, and Pillow writes and reads them so."""
    for kind in ("jpg", "tiff"):
        Image.new("RGB", (16, 16), (250, 120, 10)).convert("CMYK").save(tmp_path / f"ink.{kind}")
        found, _ = decode_all([str(tmp_path / f"ink.{kind}")], look(size=16), LIMITS)
        assert np.abs(found[0, :, 8, 8].numpy().astype(int) - (250, 120, 10)).max() <= 6


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_read(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    more = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(tmp_path / "film", kind, save_all=True, append_images=frames[1:], **more)
    found, (seen,) = decode_all([str(tmp_path / "film")], look(size=8), LIMITS)
    assert found[0, :, 4, 4].tolist() == [255, 0, 0] and seen.several


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), "red")
    image.save(tmp_path / "odd.jpg", quality=98, exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff" + b"\xff" * 9)
    found, (seen,) = decode_all([str(tmp_path / "odd.jpg")], look(size=8), LIMITS)
    assert seen.reason is None and not seen.turned and found[0, 0, 4, 4] > 240


def test_fits(tmp_path: Path) -> None:
    """A picture of 12x4: red, green and blue squares of 4."""
    strip = np.repeat(np.eye(3, dtype=np.uint8) * 255, 4, axis=0)[None].repeat(4, axis=0)
    Image.fromarray(strip).save(tmp_path / "strip.png")
    Image.fromarray(strip.swapaxes(0, 1)).save(tmp_path / "high.png")
    paths = [str(tmp_path / name) for name in ("strip.png", "high.png")]

    def made(fit: str, crop: float = 1.0, size: int = 12) -> list[Array]:
        wide, high = (one.numpy().transpose(1, 2, 0) for one in decode_all(paths, look(fit, size, crop), LIMITS)[0])
        assert np.array_equal(wide, high.swapaxes(0, 1)), fit
        return list(wide)

    assert all((row == [0, 255, 0]).all() for row in made("crop"))
    assert np.array_equal(made("squash"), strip[:1].repeat(12, axis=0))
    assert np.array_equal(made("pad")[4:8], strip) and all((row == GROUND).all() for row in made("pad")[:4])
    assert np.array_equal(made("squash", 0.5, 6), strip[:1, 3:9].repeat(6, axis=0))
    assert np.array_equal(made("pad", 0.5, 6)[1:5], strip[:, 3:9])
