"""A few samples as they are: without augmentation, without decoding the rest, and as pictures for a person."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.configs import make

from frostline.data.base import DataModule
from frostline.data.image import datasets as image
from frostline.data.inputs import Pixels

LOOK = Pixels(16, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")


def photos(root: Path) -> DataModule:
    for split in ("train", "val", "test"):
        for label, shade in (("dark", 20), ("light", 220)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                colour = (shade, number, len(split))
                Image.new("RGB", (16, 16), colour).save(folder / f"{number}.png")
    return make("data/imagefolder", root=str(root), preprocess=LOOK)


def test_a_picture_is_what_the_backbone_sees(tmp_path: Path) -> None:
    data = photos(tmp_path)
    content = data.preview("test", 4)
    assert content is not None
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "PNG" and picture.size == (16, 16) and picture.getpixel((3, 3)) == (220, 1, 4)


def test_a_look_decodes_no_more_than_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(tmp_path)
    for name in ("decode_all", "look_at_all"):
        monkeypatch.setattr(image, name, lambda *arguments: pytest.fail("decoded all"))
    (tmp_path / "test" / "dark" / "0.png").unlink()
    found = data.splits["test"].peek(torch.tensor([5, 1]))
    assert found.shape == (2, 3, 16, 16) and found[:, 0, 0, 0].tolist() == [220, 20]


def test_looks_before_and_after_decoding_are_the_same() -> None:
    data, indices = make("data/digits", preprocess=LOOK, size=None), torch.tensor([3, 0, 7])
    split = data.splits["train"]
    before = split.peek(indices)
    split.check()
    assert torch.equal(before, split.peek(indices)) and torch.equal(before, split.inputs(indices, 0))


def test_a_split_that_is_not_used_is_not_made_ready() -> None:
    data = make("data/digits", preprocess=LOOK, size=None)
    data.prepare_only(("train", "val"))
    data.setup("fit")
    ready = {name: vars(split)["_pixels"] is not None for name, split in data.splits.items()}
    assert ready == {"train": True, "val": True, "test": False}
