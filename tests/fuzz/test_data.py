"""Hostile tables, names and headers: a data set that is served whole, or one sentence; never a hang, nor a canary."""

import json
import os
import signal
import string
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from frostline.backbones.base import Backbone
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.data.base import DataModule
from frostline.data.inputs import count
from frostline.data.splits import SPLITS
from frostline.errors import UserError, escape_unprintable
from frostline.results.store import run_id
from frostline.runs.build import Builder

SETTINGS = settings(
    max_examples=60,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to find the smallest example takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
LONGEST_S = 20
TINY = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "data.size=32", "augment=none"]
PICTURES = ["data=imagefolder", "data.root=?", *TINY]
PICTURES_LISTED = ["data=csv", "data.manifest=?", *TINY]
SOUNDS = ["data=audiofolder", "backbone=voice_encoder", "backbone.weights=none", "augment=none", "data.seconds=1"]
CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["a", "b", "1", "1.0", "nan", "NaN", "-1", "=1+1", '"', '""', "'", ",", "\t", "\n", "\r", "\0"]),
    st.sampled_from(
        ["train", "Testing", "../x", "a/0.png", "/etc/passwd", "\ufeff", "\u2028", "1e400", "\xe9", "\ud83d"]
    ),
)
NAMES = st.text(
    st.sampled_from(string.ascii_letters + " .=+-@'\"\\;$`{}%<>&|\n\t\r\x1b\x7f" + "\u00e9\u2028\u202e\udce9"),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", ".."))


@contextmanager
def in_time() -> Iterator[None]:
    """Raise TimeoutError in what hangs."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@cache
def prepared(*given: str) -> tuple[Run, Backbone]:
    """Return a config, of which what names the data set is still to be filled in, and its backbone."""
    config = resolve(compose("run", list(given)))
    return config, Builder().make_network(config)[0]


def read(given: list[str], outputs: Path, **data: object) -> DataModule | str:
    """Read a data set as a run does, its ID included, and serve all of it; or return the sentence that says why not."""
    base, backbone = prepared(*given)
    config = replace(base, outputs=str(outputs), data={**base.data, **data})
    try:
        with in_time():
            name = run_id(config)
            builder = Builder()
            found = builder.make_data(config, backbone, builder.make_task(config))
            for split in SPLITS:
                served = sum(count(batch["inputs"]) for batch in found.loader(split, shuffle=False))
                assert served == len(found.splits[split])
            assert run_id(config) == name, "reading changes nothing"
            return found
    except UserError as error:
        return check_sentence(error)


def check_sentence(error: UserError) -> str:
    """Return what the program prints of an error, after a look whether that is one sentence."""
    said = escape_unprintable(str(error))
    assert len(said.splitlines()) == 1 and len(said) < 5000 and "Traceback" not in said, said
    return said


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder of its own for each example, and look whether a canary was let out of it."""
    with tempfile.TemporaryDirectory(prefix="frostline-fuzz-") as name:
        path = Path(name)
        yield path / "set"
        assert {one.name for one in path.iterdir()} <= {"set", "outputs"}, "nothing is written elsewhere"


def on_bad(skip: bool) -> str:
    return "skip" if skip else "error"


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


@SETTINGS
@given(
    header=st.lists(st.sampled_from(["path", "label", "split", "", "Path", "partition"]), max_size=4),
    rows=st.lists(st.lists(CELLS, max_size=4), max_size=6),
    sound=st.booleans(),
    kind=st.sampled_from(["csv", "tsv", "jsonl"]),
    quote=st.booleans(),
    skip=st.booleans(),
)
def test_any_table_is_read_or_refused(
    header: list[str], rows: list[list[str]], sound: bool, kind: str, quote: bool, skip: bool
) -> None:
    with folder() as root:
        for label in "ab":
            for number in range(5):
                image(root / label / f"{number}.png")
        good = [[f"{label}/{number}.png", label] for label in "ab" for number in range(5)]
        lines: list[list[str]] = [["path", "label"], *good, *rows] if sound else [header, *rows]
        if kind == "jsonl":
            keys, *values = lines
            objects = [dict(zip(keys, cells, strict=False)) for cells in values]
            content = "\n".join(json.dumps(one) for one in objects).encode()
        else:
            join = ("," if kind == "csv" else "\t").join
            cells = [[f'"{cell}"' if quote else cell for cell in line] for line in lines]
            content = "\n".join(map(join, cells)).encode("utf-8", "surrogatepass")
        (root / f"list.{kind}").write_bytes(content)
        found = read(PICTURES_LISTED, root.parent / "outputs", manifest=str(root / f"list.{kind}"), on_bad=on_bad(skip))
        if isinstance(found, str):
            assert "data" in found


@SETTINGS
@given(names=st.lists(NAMES, min_size=2, max_size=4, unique=True), inner=NAMES, skip=st.booleans())
def test_files_and_classes_of_any_name_are_served(names: list[str], inner: str, skip: bool) -> None:
    with folder() as root:
        for label in names:
            for number in range(4):
                image(root / label / f"{number}{inner}.png")
        found = read(PICTURES, root.parent / "outputs", root=str(root))
        visible = sorted(name for name in names if not name.startswith("."))
        if isinstance(found, str):
            assert len(visible) < 2 or any(name.lower().strip() in ("train", "test", "val") for name in names), found
        else:
            assert found.classes == visible and sum(len(found.splits[name]) for name in SPLITS) == 4 * len(visible)


def spoil(content: bytes, draw: Callable[..., object]) -> bytes:
    """Cut a file, or overwrite some bytes near its beginning."""
    spoilt = bytearray(content)
    for _ in range(int(str(draw(st.integers(0, 4))))):
        spoilt[int(str(draw(st.integers(0, min(len(spoilt), 120) - 1))))] = int(str(draw(st.integers(0, 255))))
    return bytes(spoilt[: int(str(draw(st.sampled_from([0, 1, 30, 60, len(spoilt) // 2, len(spoilt)]))))])


@SETTINGS
@given(st.data(), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"]), st.booleans())
def test_any_header_of_an_image_is_read_or_named(data: st.DataObject, kind: str, skip: bool) -> None:
    with folder() as root:
        for label in "ab":
            for number in range(5):
                image(root / label / f"{number}.png")
        whole = root / "whole"
        Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)).save(whole, kind)
        (root / "a" / "odd.png").write_bytes(spoil(whole.read_bytes(), data.draw))
        whole.unlink()
        found = read(PICTURES, root.parent / "outputs", root=str(root), max_megapixels=1.0, on_bad=on_bad(skip))
        assert not isinstance(found, str) or ("odd.png" in found and not skip), found


@SETTINGS
@given(st.data(), st.sampled_from(["WAV", "FLAC", "OGG", "MP3"]), st.booleans())
def test_any_header_of_a_sound_is_read_or_named(data: st.DataObject, kind: str, skip: bool) -> None:
    wave = (0.3 * np.sin(np.arange(8000) / 5)).astype(np.float32)
    with folder() as root:
        for label in "ab":
            (root / label).mkdir(parents=True)
            for number in range(5):
                soundfile.write(root / label / f"{number}.wav", wave[: 4000 + 100 * number + ord(label)], 16000)
        soundfile.write(root / "whole", wave, 16000, format=kind)
        (root / "a" / "odd.wav").write_bytes(spoil((root / "whole").read_bytes(), data.draw))
        (root / "whole").unlink()
        found = read(SOUNDS, root.parent / "outputs", root=str(root), on_bad=on_bad(skip))
        assert not isinstance(found, str) or ("odd.wav" in found and not skip), found


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_bytes_that_are_no_table_are_refused(kind: str) -> None:
    with folder() as root:
        image(root / "a.png")
        for content in (b"", b"\0" * 100, os.urandom(500), b"\xff\xfep\0a\0t\0h\0", b"path,label\n" + b'"' * 1001):
            (root / f"list.{kind}").write_bytes(content)
            found = read(PICTURES_LISTED, root.parent / "outputs", manifest=str(root / f"list.{kind}"))
            assert isinstance(found, str)
