"""Published image data sets read by torchvision, with their official splits."""

import http.client
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets

from frostline.data.archives import guarded_extraction
from frostline.data.base import DataModule
from frostline.data.image.datasets import prepare, read_options
from frostline.data.image.pixels import Images
from frostline.data.listing import Found, Listing
from frostline.errors import UserError, choices
from frostline.files.leftovers import temporary_folder_beside

Reader = Callable[[Any], tuple[Images, list[int]]]


@dataclass(frozen=True)
class Published:
    """How torchvision names a data set: its class, the arguments of each official split, and where its samples are."""

    make: Callable[..., Any]
    splits: Mapping[str, Mapping[str, Any]]
    read: Reader
    place: str


def _arrays(data: Any) -> tuple[Images, list[int]]:
    return np.asarray(data.data), [int(label) for label in data.targets]


def _svhn(data: Any) -> tuple[Images, list[int]]:
    return np.ascontiguousarray(data.data.transpose(0, 2, 3, 1)), data.labels.tolist()


def _files(data: Any) -> tuple[Images, list[int]]:
    return [str(path) for path in data._image_files], list(data._labels)


def _pets(data: Any) -> tuple[Images, list[int]]:
    return [str(path) for path in data._images], list(data._labels)


def _samples(data: Any) -> tuple[Images, list[int]]:
    return [path for path, _ in data.samples], [label for _, label in data.samples]


_TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE = _BY_NAME | {"val": {"split": "val"}}

SETS: dict[str, Published] = {
    "FashionMNIST": Published(datasets.FashionMNIST, _TRAIN_TEST, _arrays, "FashionMNIST/raw"),
    "CIFAR10": Published(datasets.CIFAR10, _TRAIN_TEST, _arrays, "cifar-10-batches-py"),
    "CIFAR100": Published(datasets.CIFAR100, _TRAIN_TEST, _arrays, "cifar-100-python"),
    "SVHN": Published(datasets.SVHN, _BY_NAME, _svhn, "train_32x32.mat"),
    "Flowers102": Published(datasets.Flowers102, _THREE, _files, "flowers-102"),
    "OxfordIIITPet": Published(
        datasets.OxfordIIITPet, {"train": {"split": "trainval"}, "test": {"split": "test"}}, _pets, "oxford-iiit-pet"
    ),
    "DTD": Published(datasets.DTD, _THREE, _files, "dtd/dtd"),
    "EuroSAT": Published(datasets.EuroSAT, {"train": {}}, _samples, "eurosat/2750"),
    "Food101": Published(datasets.Food101, _BY_NAME, _files, "food-101"),
}

_FAILURES = (RuntimeError, OSError, ValueError, KeyError, http.client.HTTPException)
"""What torchvision raises for data that is absent, damaged or out of reach."""


def _load(name: str, root: Path) -> dict[str, Any]:
    """Return torchvision's data sets by split, from what is on the disk.

    Pickles and .mat files are read only after torchvision has compared their MD5 with the published one: its CIFAR
    and SVHN classes raise before they open a file that differs (a test holds them to it).
    """
    published = SETS[name]
    return {split: published.make(str(root), download=False, **keys) for split, keys in published.splits.items()}


def _download(name: str, root: Path) -> None:
    """Fetch and extract beside the data, then move it into place: a kill, or another run, leaves no half of it."""
    root.mkdir(parents=True, exist_ok=True)
    with temporary_folder_beside(root / name) as folder:
        with guarded_extraction():
            for keys in SETS[name].splits.values():
                SETS[name].make(folder, download=True, **keys)
        for made in folder.iterdir():
            if (root / made.name).is_dir():
                continue
            os.replace(made, root / made.name)


def _describe_error(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _obtain(name: str, root: Path, download: bool) -> dict[str, Any]:
    """Return the splits, downloaded where that is needed and allowed; raises UserError that says what to do."""
    where = f"a folder that holds {SETS[name].place}"
    try:
        return _load(name, root)
    except _FAILURES as error:
        if not download:
            raise UserError(
                f"data.root: {name} cannot be read from {root} ({_describe_error(error)}); name {where}, or set "
                "data.download=true."
            ) from error
    try:
        _download(name, root)
        return _load(name, root)
    except _FAILURES as error:
        raise UserError(
            f"data.download: {name} could not be downloaded to {root} ({_describe_error(error)}); fetch it on "
            f"another machine and set data.root to {where}."
        ) from error


def _find(name: str, root: Path, splits: Mapping[str, Any]) -> Found:
    """Return torchvision's data sets as listings, with their class names in their order."""
    first = splits["train"]
    classes = [str(digit) for digit in range(10)] if name == "SVHN" else [str(label) for label in first.classes]
    found = {}
    for split, data in splits.items():
        images, labels = SETS[name].read(data)
        if isinstance(images, np.ndarray):
            names = [f"{name.lower()}/{split}/{index}" for index in range(len(labels))]
        else:
            names = [os.path.relpath(path, root) for path in images]
        found[split] = Listing(names, [classes[label] for label in labels], images)
    notes = [] if "test" in found else [f"{name} has no official split"]
    return Found(f"data.root: {root}", found, classes, notes)


class TorchvisionImages(DataModule):
    """A data set that torchvision reads, in the official splits; what is not official is drawn from train, and said.

    Raises UserError where the data is neither there nor downloaded.
    """

    def __init__(
        self,
        name: str,
        root: str,
        download: bool,
        val_fraction: float,
        test_fraction: float,
        **common: Any,
    ) -> None:
        options = read_options(common, f"data={name}")
        if name not in SETS:
            raise choices("data.name", name, SETS)
        folder = Path(root).expanduser()
        found = _find(name, folder, _obtain(name, folder, download))
        super().__init__(*prepare(found, {"val": val_fraction, "test": test_fraction}, options))
