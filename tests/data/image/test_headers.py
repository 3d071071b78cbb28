"""What is lost of pictures is counted before training, deep ones share one range, and odd files are named."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

import io
import json
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests import configs

from frostline.data.image.headers import FORMATS, Limits, Look, count_losses, find_span, look
from frostline.data.image.pixels import decode_all
from frostline.data.inputs import Pixels
from frostline.errors import UserError

Paint = Callable[[int], Image.Image]
WHOLE = {"fit": "squash", "crop": 1.0}


def paint(root: Path, make: Paint, ending: str = "png", count: int = 3, **options: object) -> Path:
    """Write ``count`` pictures of two classes in three splits."""
    for place, split in enumerate(("train", "val", "test")):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                image = make(100 * place + 10 * number + (label == "cat"))
                image.save(root / split / label / f"{number}.{ending}", **options)
    return root


def plain(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8))


def deep(most: int, least: int = 0) -> Paint:
    """Return what makes grey pictures whose values lie between two numbers and reach both."""

    def make(number: int) -> Image.Image:
        values = np.random.default_rng(number).integers(least, most + 1, (16, 16)).astype(np.uint16)
        values[0, :2] = least, most
        return Image.fromarray(values)

    return make


def test_plain_pictures_have_no_note(tmp_path: Path, preprocess: Pixels) -> None:
    data = configs.make("data/imagefolder", root=str(paint(tmp_path, plain)), preprocess=preprocess, **WHOLE)
    assert data.notes == [] and data.known == {}


def test_what_is_lost_is_counted(tmp_path: Path, preprocess: Pixels) -> None:
    root = paint(tmp_path, plain)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain(900).save(root / "train/cat/turned.jpg", exif=exif)
    plain(901).save(root / "val/dog/turned.png", exif=exif)
    plain(902).convert("RGBA").save(root / "train/cat/clear.png")
    plain(903).convert("P").save(root / "train/cat/palette.png", transparency=3)
    plain(904).save(root / "test/dog/film.gif", save_all=True, append_images=[plain(905)])
    plain(906).resize((64, 16)).save(root / "test/dog/long.png")
    notes = configs.make("data/imagefolder", root=str(root), preprocess=preprocess, fit="crop", crop=1.0).notes
    assert sorted(notes) == [
        "1 images hold several frames or pages, of which the first is read",
        "1 images lose more than a tenth of a side to data.fit=crop data.crop=1; data.fit=pad or squash with "
        "data.crop=1 keeps all of them",
        "2 images are turned as their EXIF says",
        "2 images may be transparent: they are put on data.background",
    ]
    cut = configs.make("data/imagefolder", root=str(root), preprocess=preprocess, fit="pad", crop=0.875).notes
    assert any(
        note.startswith("24 images lose more than a tenth of a side to data.fit=pad data.crop=0.875") for note in cut
    )


def test_arrays_that_a_crop_cuts_are_counted(preprocess: Pixels) -> None:
    assert (
        "1797 images lose more than a tenth"
        in configs.make("data/digits", preprocess=preprocess, fit="crop", crop=0.875, size=None).notes[-1]
    )


@pytest.mark.parametrize(
    ("least", "most", "span"),
    [
        (0, 200, (0, 255)),
        (0, 1020, (0, 1023)),
        (100, 4000, (0, 4095)),
        (0, 65535, (0, 65535)),
        (29000, 31000, (29000, 31000)),
        (7, 7, (7, 8)),
        (0, 15, (0, 15)),
    ],
)
def test_deep_pictures_share_the_range_that_the_training_pictures_use(
    tmp_path: Path, preprocess: Pixels, least: int, most: int, span: tuple[int, int]
) -> None:
    data = configs.make(
        "data/imagefolder", root=str(paint(tmp_path, deep(most, least))), preprocess=preprocess, size=16, **WHOLE
    )
    assert data.known == {"span": list(span)}
    assert f"18 images have more than 8 bits a value: {span[0]} to {span[1]} become 0 to 255" in data.notes
    split = data.splits["train"]
    for name, pixels in zip(split.names, split.inputs(torch.arange(len(split)), 0), strict=True):
        values = np.asarray(Image.open(tmp_path / name)).astype(float)
        wanted = np.round((values - span[0]) / (span[1] - span[0]) * 255)
        assert np.array_equal(pixels[0].numpy(), wanted)


def test_the_range_is_in_the_key_of_the_cache_and_the_same_in_all_splits(tmp_path: Path, preprocess: Pixels) -> None:
    ids = []
    for most in (1020, 4000):
        data = configs.make(
            "data/imagefolder", root=str(paint(tmp_path / str(most), deep(most))), preprocess=preprocess
        )
        ids.append(data.transform_id("test"))
        assert data.transform_id("train") == data.transform_id("test")
    assert ids[0] != ids[1]


def test_values_beyond_the_range_are_cut_and_said(
    tmp_path: Path, preprocess: Pixels, caplog: pytest.LogCaptureFixture
) -> None:
    root = paint(tmp_path, deep(1020))
    deep(50000)(1).save(root / "test/cat/other.png")
    for memory_gb in (1, 0):
        data = configs.make("data/imagefolder", root=str(root), preprocess=preprocess, memory_gb=memory_gb, **WHOLE)
        assert data.known == {"span": [0, 1023]}, "the test split has no say"
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            data.check()
        assert (
            "1 images hold values beyond those of the training images, which are cut: test/cat/other.png" in caplog.text
        )


def test_fractions_and_values_that_are_no_numbers(tmp_path: Path, preprocess: Pixels) -> None:
    def fractions(number: int) -> Image.Image:
        return Image.fromarray(np.random.default_rng(number).random((16, 16), np.float32))

    root = paint(tmp_path, fractions, "tiff")
    data = configs.make("data/imagefolder", root=str(root), preprocess=preprocess, size=16, **WHOLE)
    assert data.known == {"span": [0, 1]} and data.splits["train"].inputs(torch.arange(6), 0).float().std() > 60
    values = np.array(fractions(1))
    values[3, 3] = np.nan
    Image.fromarray(values).save(root / "train/cat/0.tiff")
    with pytest.raises(UserError, match=r"train/cat/0.tiff is truncated or damaged \(some values are no numbers\)"):
        configs.make("data/imagefolder", root=str(root), preprocess=preprocess).check()


def test_deep_colours_are_said_and_refused_where_nothing_would_be_read_of_them(preprocess: Pixels) -> None:
    seen = Look(size=(4, 4), deep=True, extent=(0, 255))
    assert count_losses([seen], replace(preprocess, crop=1.0)) == {
        "have 16-bit colours, of which the upper 8 bits are read": 1
    }
    assert find_span([seen], "data.root: x") is None
    with pytest.raises(UserError, match="data.root: x: the 16-bit colours of 2 images use their lower bits alone"):
        find_span([seen._replace(extent=(0, 3))] * 2, "data.root: x")


def test_deep_colours_are_recognised(tmp_path: Path, preprocess: Pixels) -> None:
    from tests.data.image.test_viewing import write_png

    for split in ("train", "val", "test"):
        for label in ("cat", "dog"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(2):
                values = np.random.default_rng([number, len(split), len(label)]).integers(0, 1024, (4, 12))
                write_png(tmp_path / split / label / f"{number}.png", 4, 16, 2, values.astype(">u2"))
    with pytest.raises(UserError, match="the 16-bit colours of 4 images use their lower bits alone"):
        configs.make("data/imagefolder", root=str(tmp_path), preprocess=preprocess)


@pytest.mark.parametrize("ending", "jpe jfif apng pbm pnm dib avif jp2 heic".split())
def test_endings_that_people_use(tmp_path: Path, preprocess: Pixels, ending: str) -> None:
    """What a file holds decides how it is read: the last one is a PNG by content."""
    formats = {
        "jpe": "JPEG",
        "jfif": "JPEG",
        "pbm": "PPM",
        "pnm": "PPM",
        "dib": "DIB",
        "avif": "AVIF",
        "jp2": "JPEG2000",
    }
    format = formats.get(ending, "PNG")
    if format not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {format}")
    make = (lambda number: plain(number).convert("1")) if ending == "pbm" else plain
    data = configs.make(
        "data/imagefolder", root=str(paint(tmp_path, make, ending, format=format)), preprocess=preprocess
    )
    data.check()
    assert len(data.splits["train"]) == 6


def test_a_heic_picture_is_named_with_its_remedy(tmp_path: Path, preprocess: Pixels) -> None:
    root = paint(tmp_path, plain)
    (root / "train/cat/phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(UserError, match="phone.heic is a HEIF picture.*convert it to JPEG or PNG"):
        configs.make("data/imagefolder", root=str(root), preprocess=preprocess)


def test_no_pipe_device_or_socket_is_opened(
    tmp_path: Path, preprocess: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = paint(tmp_path, plain)
    os.mkfifo(root / "train/cat/pipe.png")
    os.mkfifo(root / "test/cat/pipe.jpg")
    (root / "val/cat/zero.png").symlink_to("/dev/zero")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(root)  # a socket's path is short
    server.bind("train/dog/talk.png")
    with pytest.raises(UserError, match="4 images cannot be used") as raised:
        configs.make("data/imagefolder", root=str(root), preprocess=preprocess, symlinks=True)
    for said in ("pipe.png is a pipe, not a file", "zero.png is a device", "talk.png is a socket"):
        assert said in str(raised.value)
    data = configs.make("data/imagefolder", root=str(root), preprocess=preprocess, symlinks=True, on_bad="skip")
    data.check()
    assert "left out 4 images" in data.notes[0] and len(data.splits["train"]) == 6
    server.close()


@pytest.mark.parametrize(
    ("format", "ending"), [("AVIF", "avif"), ("JPEG2000", "jp2"), ("WEBP", "webp"), ("GIF", "gif")]
)
def test_sizes_are_judged_before_a_pixel_is_decoded(
    tmp_path: Path, preprocess: Pixels, monkeypatch: pytest.MonkeyPatch, format: str, ending: str
) -> None:
    if format not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {format}")
    root = paint(tmp_path, plain)
    Image.new("L" if format == "GIF" else "RGB", (600, 500)).save(root / "train/cat" / f"large.{ending}")
    loaded: list[tuple[int, int]] = []
    for kind in (Image.Image, *{Image.OPEN[format][0]}):
        if isinstance(kind, type):
            monkeypatch.setattr(kind, "load", lambda image: loaded.append(image.size))
    with pytest.raises(UserError, match=f"large.{ending} has 600x500 pixels, more than data.max_megapixels=0.1"):
        configs.make("data/imagefolder", root=str(root), preprocess=preprocess, max_megapixels=0.1)
    assert (600, 500) not in loaded


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"fit": "stretch"}, "data.fit: 'stretch' is not known; choose one of: crop, squash, pad"),
        ({"crop": 0.0}, "data.crop: 0.0 is not a share"),
        ({"crop": 1.1}, "data.crop: 1.1 is not a share"),
        ({"background": "nocolour"}, "data.background: 'nocolour' is no opaque colour"),
        ({"background": "#ffffff80"}, "data.background: '#ffffff80' is no opaque colour"),
    ],
)
def test_a_bad_way_of_fitting_is_named(preprocess: Pixels, option: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        configs.make("data/digits", preprocess=preprocess, **{"size": None, **option})


SOUND = {format: io.BytesIO() for format in FORMATS}
for _format, _file in SOUND.items():
    if _format in Image.SAVE:
        _exif = Image.Exif()
        _exif[0x0112] = 6
        plain(7).save(_file, _format, **({"exif": _exif} if _format in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF") else {}))


@given(
    format=st.sampled_from([format for format, file in SOUND.items() if file.getvalue()]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
    decode=st.booleans(),
)
def test_hostile_bytes_are_pixels_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory,
    format: str,
    changes: list[tuple[float, int]],
    kept: float,
    decode: bool,
) -> None:
    content = bytearray(SOUND[format].getvalue())
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    path = tmp_path_factory.mktemp("hostile") / "file"
    path.write_bytes(content[: round(kept * len(content))])
    limits, wanted = Limits(10_000, 20), Pixels(20, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", fit="squash")
    before = look(str(path), limits, decode)
    assert json.loads(json.dumps(before)) == json.loads(json.dumps([*before]))  # what the data index holds
    pixels, (seen,) = decode_all([str(path)], wanted, limits)
    assert seen.reason is None or (not pixels.any() and "\n" not in seen.reason)
    assert seen.size[0] * seen.size[1] <= 10_000 or seen.reason is not None
