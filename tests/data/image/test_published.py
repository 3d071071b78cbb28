"""Published sets, on small files in their official formats; archives and pickles that must not be trusted."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.configs import make
from torchvision.datasets import CIFAR10, utils

from frostline.data.archives import check_archive, guarded_extraction
from frostline.data.inputs import Pixels
from frostline.errors import UserError

Write = Callable[..., Path]


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def fashion(root: Path) -> Path:
    raw = root / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 60), ("t10k", 20)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))
    return raw


def test_fashion_mnist_keeps_its_official_test_split(tmp_path: Path, preprocess: Pixels) -> None:
    fashion(tmp_path)
    data = make("data/fashionmnist", root=str(tmp_path), download=False, val_fraction=0.3, preprocess=preprocess)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [40, 20, 20]
    assert data.classes[9] == "Ankle boot" and data.splits["test"].names[3] == "fashionmnist/test/3"
    assert data.splits["test"].labels.tolist() == [index % 10 for index in range(20)]
    assert data.notes == ["drew val from train, by class, with data.split_seed=0"]
    assert data.splits["train"].inputs(torch.arange(3), 0).shape == (3, 3, 32, 32)


def test_half_a_file_is_an_error_that_says_what_to_do(tmp_path: Path, preprocess: Pixels) -> None:
    images = fashion(tmp_path) / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:500])
    with pytest.raises(UserError, match="data.root: FashionMNIST cannot be read"):
        make("data/fashionmnist", root=str(tmp_path), download=False, preprocess=preprocess)


def test_textures_come_in_three_official_splits(write: Write, preprocess: Pixels) -> None:
    for label in ("banded", "dotted"):
        root = write(f"dtd/dtd/images/{label}", 6, (40, 40), "jpg")
    (root / "dtd/dtd/labels").mkdir()
    for place, split in enumerate(("train", "val", "test")):
        lines = [f"{label}/{2 * place + index}.jpg" for label in ("banded", "dotted") for index in range(2)]
        (root / f"dtd/dtd/labels/{split}1.txt").write_text("\n".join(lines) + "\n")
    data = make("data/dtd", root=str(root), download=False, preprocess=preprocess)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [4, 4, 4] and not data.notes
    assert data.splits["val"].names[0] == "dtd/dtd/images/banded/2.jpg"
    data.check()


def test_eurosat_has_no_official_split_and_says_so(write: Write, preprocess: Pixels) -> None:
    write("eurosat/2750/Forest", 10, kind="jpg")
    root = write("eurosat/2750/River", 10, kind="jpg")
    data = make("data/eurosat", root=str(root), download=False, preprocess=preprocess)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [14, 2, 4]
    assert data.notes[0] == "EuroSAT has no official split" and "drew val and test" in data.notes[1]


def test_pets_draw_val_from_trainval(write: Write, preprocess: Pixels) -> None:
    root = write("oxford-iiit-pet/images", 20, kind="jpg")
    pets = root / "oxford-iiit-pet"
    (pets / "annotations").mkdir()
    names = [f"{'beagle' if index % 2 else 'Abyssinian'}_{index}" for index in range(20)]
    for index, name in enumerate(names):
        (pets / f"images/{index}.jpg").rename(pets / f"images/{name}.jpg")
    for split, first in (("trainval", 0), ("test", 10)):
        lines = [f"{names[index]} {index % 2 + 1} 1 1" for index in range(first, first + 10)]
        (pets / f"annotations/{split}.txt").write_text("\n".join(lines))
    data = make("data/oxfordiiitpet", root=str(root), download=False, val_fraction=0.2, preprocess=preprocess)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [8, 2, 10]
    assert data.classes == ["Abyssinian", "Beagle"]


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_is_not_the_published_one_is_never_opened(tmp_path: Path, preprocess: Pixels) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [name for name, _ in CIFAR10.train_list + CIFAR10.test_list] + ["batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    with pytest.raises(UserError, match="data.root: CIFAR10 cannot be read.*corrupted.*data.download=true"):
        make("data/cifar10", root=str(tmp_path), download=False, preprocess=preprocess)
    assert not (tmp_path / "canary").exists()


def test_a_download_that_fails_says_what_to_do_and_leaves_nothing(
    tmp_path: Path, preprocess: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*arguments: object, **keywords: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(UserError, match="data.download: EuroSAT could not.*unreachable.*data.root to a folder that"):
        make("data/eurosat", root=str(tmp_path / "new"), preprocess=preprocess)
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(UserError, match="data.name: 'ImageNet' is not known; choose one of: FashionMNIST"):
        make("data/cifar10", name="ImageNet", root=str(tmp_path), preprocess=preprocess)


def test_a_download_is_moved_into_place_whole(
    tmp_path: Path, write: Write, preprocess: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("2750/Forest", 10, kind="jpg")
    write("2750/River", 10, kind="jpg")

    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        with zipfile.ZipFile(Path(root) / filename, "w") as archive:
            for file in tmp_path.glob("2750/*/*.jpg"):
                archive.write(file, file.relative_to(tmp_path))

    monkeypatch.setattr(utils, "download_url", fetch)
    data = make("data/eurosat", root=str(tmp_path / "root"), preprocess=preprocess)
    assert len(data.splits["train"]) == 14
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["eurosat"]


def tar(path: Path, member: tarfile.TarInfo, content: bytes = b"") -> Path:
    member.size = len(content)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(content))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def archives(folder: Path) -> list[tuple[Path, str]]:
    """Make one archive of each bad kind; return it with what must be said."""
    with zipfile.ZipFile(folder / "up.zip", "w") as archive:
        archive.writestr("../out.txt", "out")
    with zipfile.ZipFile(folder / "big.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(30_000_000))
    with gzip.open(folder / "big.gz", "wb") as file:
        file.write(bytes(30_000_000))
    return [
        (tar(folder / "up.tgz", tarfile.TarInfo("../out.txt"), b"out"), "outside the folder"),
        (tar(folder / "root.tgz", tarfile.TarInfo("/out.txt"), b"out"), "outside the folder"),
        (tar(folder / "link.tgz", link("way", "/etc")), "link or a device"),
        (tar(folder / "big.tgz", tarfile.TarInfo("zeros"), bytes(30_000_000)), "swells"),
        (folder / "up.zip", "outside the folder"),
        (folder / "big.zip", "swells"),
        (folder / "big.gz", "swells"),
    ]


def test_bad_archives_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for path, said in archives(tmp_path / "in"):
        with pytest.raises(UserError, match=said):
            check_archive(path)
        with guarded_extraction(), pytest.raises(UserError, match=said):
            utils.extract_archive(str(path), str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_good_archive_is_extracted(tmp_path: Path) -> None:
    good = tar(tmp_path / "good.tgz", tarfile.TarInfo("a/b.txt"), b"content")
    with guarded_extraction():
        utils.extract_archive(str(good), str(tmp_path / "out"))
    assert (tmp_path / "out/a/b.txt").read_bytes() == b"content"
