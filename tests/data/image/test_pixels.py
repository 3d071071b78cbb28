"""The way from a file to pixels is timm's, and a bad file is named before it can do harm."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.configs import make
from timm.data.transforms_factory import create_transform

from frostline.data.inputs import Pixels
from frostline.errors import UserError


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize(("size", "crop"), [(32, 0.875), (48, 1.0), (33, 0.9)])
@pytest.mark.parametrize("memory_gb", [1, 0])
def test_pixels_are_those_of_timms_evaluation(
    write: Callable[..., Path], interpolation: str, size: int, crop: float, memory_gb: float
) -> None:
    write("cat", 4, (70, 50), "jpg")
    root = write("dog", 4, (31, 64))
    preprocess = Pixels(size, crop, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), interpolation)
    asked: Any = {"fit": "crop", "crop": None, "memory_gb": memory_gb}
    data = make(
        "data/imagefolder", root=str(root), preprocess=preprocess, val_fraction=0.25, test_fraction=0.25, **asked
    )
    timm: Any = create_transform((3, size, size), interpolation=interpolation, crop_pct=crop, normalize=False)
    split = data.splits["train"]
    wanted = torch.stack([timm(Image.open(root / name).convert("RGB")) for name in split.names])
    assert torch.equal(split.inputs(torch.arange(len(split)), 0), wanted)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_of_8_and_16_bits_becomes_rgb(photos: Path, preprocess: Pixels, mode: str) -> None:
    grey = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    image.save(photos / "train/cat/0.png" if mode != "CMYK" else photos / "train/cat/0.tiff")
    data = make("data/imagefolder", root=str(photos), preprocess=preprocess)
    index = data.splits["train"].names.index("train/cat/0.tiff" if mode == "CMYK" else "train/cat/0.png")
    pixels = data.splits["train"].inputs(torch.tensor([index]), 0)
    assert pixels.shape == (1, 3, 32, 32) and 100 < pixels.float().mean() < 155


def write_bomb(path: Path, side: int) -> None:
    """Write a PNG of side x side zero bytes without ever holding them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 + side)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def spoil(root: Path) -> dict[str, str]:
    """Make five bad files, in all splits; return what must be said of each."""
    half = (root / "train/cat/0.png").read_bytes()
    (root / "train/cat/0.png").write_bytes(half[: len(half) // 2])
    Image.open(root / "val/cat/1.png").save(root / "val/cat/1.jpg")
    (root / "val/cat/1.png").unlink()
    half = (root / "val/cat/1.jpg").read_bytes()
    (root / "val/cat/1.jpg").write_bytes(half[: len(half) // 2])
    (root / "train/dog/0.png").write_bytes(b"")
    (root / "test/dog/1.jpg").write_text("<!DOCTYPE html><html><body>404</body></html>")
    write_bomb(root / "train/dog/1.png", 9000)
    return {
        "train/cat/0.png": "truncated",
        "val/cat/1.jpg": "truncated",
        "train/dog/0.png": "empty",
        "test/dog/1.jpg": "HTML",
        "train/dog/1.png": "9000x9000 pixels",
    }


def test_bad_images_are_named_counted_and_skipped_if_so_told(photos: Path, preprocess: Pixels) -> None:
    bad = spoil(photos)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="3 images cannot be used") as raised:
        make("data/imagefolder", root=str(photos), preprocess=preprocess)
    for name in ("train/dog/0.png", "test/dog/1.jpg", "train/dog/1.png"):
        assert f"{name} " in str(raised.value) and bad[name] in str(raised.value)
    data = make("data/imagefolder", root=str(photos), preprocess=preprocess, on_bad="skip")
    note = next(note for note in data.notes if "left out 5 images" in note)
    assert all(name in note and reason in note for name, reason in bad.items())
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [9, 7, 8]
    data.check()
    assert sum(len(batch["label"]) for batch in data.train_dataloader()) == 9
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB; the bomb takes 81 MB


@pytest.mark.parametrize("memory_gb", [1, 0])
def test_half_a_file_in_any_split_is_named_before_training(photos: Path, preprocess: Pixels, memory_gb: float) -> None:
    whole = (photos / "test/cat/2.png").read_bytes()
    (photos / "test/cat/2.png").write_bytes(whole[: len(whole) // 2])
    data = make("data/imagefolder", root=str(photos), preprocess=preprocess, memory_gb=memory_gb)
    for start in (lambda: data.setup("fit"), data.test_dataloader, data.check):
        with pytest.raises(UserError, match="1 samples cannot be used: test/cat/2.png is truncated.*data.on_bad=skip"):
            start()
    with pytest.raises(UserError, match="test/cat/2.png is truncated"):
        data.splits["test"].inputs(torch.tensor([0]), 0)


def test_a_file_that_is_spoilt_after_the_check_is_named(photos: Path, preprocess: Pixels) -> None:
    data = make("data/imagefolder", root=str(photos), preprocess=preprocess, memory_gb=0)
    data.check()
    (photos / "train/cat/0.png").write_bytes(b"")
    with pytest.raises(UserError, match="train/cat/0.png is empty.*has changed"):
        data.splits["train"].inputs(torch.tensor([0]), 0)


def test_an_image_too_thin_to_resize_is_refused(photos: Path, preprocess: Pixels) -> None:
    Image.new("L", (1, 1_000_000)).save(photos / "train/cat/thin.png")
    with pytest.raises(UserError, match="thin.png is too long and thin"):
        make("data/imagefolder", root=str(photos), preprocess=preprocess, fit="crop")
    make("data/imagefolder", root=str(photos), preprocess=preprocess, fit="pad").check()  # which resizes its long side


def test_a_larger_limit_lets_a_large_image_in(photos: Path, preprocess: Pixels) -> None:
    Image.new("L", (300, 200)).save(photos / "train/cat/large.png")
    with pytest.raises(UserError, match="300x200 pixels, more than data.max_megapixels=0.05"):
        make("data/imagefolder", root=str(photos), preprocess=preprocess, max_megapixels=0.05)
    make("data/imagefolder", root=str(photos), preprocess=preprocess, max_megapixels=0.06).check()
