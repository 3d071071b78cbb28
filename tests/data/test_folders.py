"""What a folder is taken for: splits by the names that people use, classes, and never what this program wrote."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.configs import make

from frostline.data.folders import read_folder
from frostline.data.inputs import Pixels
from frostline.data.splits import USUAL, split_called
from frostline.errors import UserError

from .conftest import Write


@pytest.mark.parametrize(
    "names",
    [("Training", "Testing"), ("TRAIN", "Valid", "test"), ("train", "validation"), ("training", "dev", "Test")],
)
def test_splits_go_by_the_names_that_people_use(
    write: Write, preprocess: Pixels, tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = tmp_path / "photos"
    for split, label in itertools.product(names, ("cat", "dog")):
        write(f"photos/{split}/{label}", 6)
    data = make("data/imagefolder", root=str(root), preprocess=preprocess)
    assert data.classes == ["cat", "dog"]
    found = read_folder(str(root), symlinks=False)
    assert {split: listing.names[0] for split, listing in found.splits.items()} == {
        split_called(name): f"{name}/cat/0.png" for name in names
    }
    assert all(len(listing) == 12 for listing in found.splits.values())
    renamed = [name for name in names if name not in USUAL]
    assert all(f"{name} as {split_called(name)}" in " ".join(data.notes) for name in renamed)


@given(st.sampled_from([name for names in USUAL.values() for name in names]), st.data())
def test_a_splits_name_is_known_in_any_case(name: str, data: st.DataObject) -> None:
    spelt = "".join(sign.upper() if data.draw(st.booleans()) else sign for sign in name)
    assert name in USUAL[split_called(f" {spelt} ") or ""]


def test_vehicles_may_be_called_train(write: Write, preprocess: Pixels) -> None:
    for label in ("train", "bus", "tram"):
        root = write(label, 5)
    data = make("data/imagefolder", root=str(root), preprocess=preprocess)
    assert data.classes == ["bus", "train", "tram"]
    assert data.summary == "data: 9/3/3 samples (train/val/test) of 3 classes: bus 3/1/1; train 3/1/1; tram 3/1/1"


def test_splits_without_classes_are_no_classes(write: Write, preprocess: Pixels) -> None:
    write("Training", 5)
    root = write("Testing", 5)
    with pytest.raises(UserError, match="holds Testing but no train with a folder for each class"):
        make("data/imagefolder", root=str(root), preprocess=preprocess)


@pytest.mark.parametrize("inner", ["", "results/", "cat/"])
def test_the_programs_own_output_is_never_data(write: Write, preprocess: Pixels, inner: str) -> None:
    for label in ("cat", "dog"):
        root = write(f"photos/{label}", 5) / "photos"
    before = make("data/imagefolder", root=str(root), preprocess=preprocess)
    runs = root / inner / "outputs/runs/0123456789ab"
    runs.mkdir(parents=True)
    (runs / "resolved.yaml").write_text("seed: 0\n")
    write(f"photos/{inner}outputs/cache/pictures", 3)
    if inner == "results/":  # a folder of its own is a class that holds nothing
        with pytest.raises(UserError, match="no training images of results"):
            make("data/imagefolder", root=str(root), preprocess=preprocess)
        return
    data = make("data/imagefolder", root=str(root), preprocess=preprocess)
    assert data.classes == ["cat", "dog"] and data.fingerprint == before.fingerprint
    assert "left out outputs: it is this program's own output" in data.notes


def test_a_data_set_may_be_the_output_folder_too(write: Write) -> None:
    for label in ("cat", "dog"):
        root = write(f"photos/{label}", 5) / "photos"
    (root / "cache/index").mkdir(parents=True)
    (root / "runs/0123456789ab").mkdir(parents=True)
    found = read_folder(str(root), symlinks=False)
    assert found.classes == ["cat", "dog"] and "left out cache; runs" in found.notes[0]


@pytest.mark.parametrize("kind", ["pipe", "device", "socketless link"])
def test_what_is_no_file_is_named_before_it_is_opened(write: Write, preprocess: Pixels, kind: str) -> None:
    for label in ("cat", "dog"):
        root = write(f"photos/{label}", 5) / "photos"
    place = root / "cat/odd.png"
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero" if kind == "device" else root / "gone")
    with pytest.raises(UserError, match="cat/odd.png (is a pipe|is a device|does not exist)"):
        make("data/imagefolder", root=str(root), symlinks=True, preprocess=preprocess)
    data = make("data/imagefolder", root=str(root), symlinks=True, on_bad="skip", preprocess=preprocess)
    assert "left out 1 images" in " ".join(data.notes)


def test_a_class_that_a_split_lacks_is_counted(write: Write, preprocess: Pixels) -> None:
    for split, label in (("train", "cat"), ("train", "dog"), ("val", "cat"), ("val", "dog"), ("test", "cat")):
        root = write(f"{split}/{label}", 4)
    data = make("data/imagefolder", root=str(root), preprocess=preprocess)
    assert data.class_counts == {
        "train": {"cat": 4, "dog": 4},
        "val": {"cat": 4, "dog": 4},
        "test": {"cat": 4, "dog": 0},
    }
    assert "dog 4/4/0" in data.summary
    assert Path(root).is_dir()
