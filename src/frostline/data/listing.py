"""Which images a folder or a manifest names, with which labels and in which split: nothing is decoded here."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from frostline.data.base import SPLITS, named
from frostline.data.pixels import EXTENSIONS, Images
from frostline.errors import UserError


@dataclass(frozen=True)
class Listing:
    """Samples before they are decoded: a stable name, a class name and an image for each."""

    names: list[str]
    labels: list[str]
    images: Images

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: Sequence[int]) -> "Listing":
        """Return the samples at ``indices``, in that order."""
        images = (
            self.images[list(indices)] if isinstance(self.images, np.ndarray) else [self.images[i] for i in indices]
        )
        return Listing([self.names[i] for i in indices], [self.labels[i] for i in indices], images)


@dataclass(frozen=True)
class Found:
    """What a reader found: its splits, of which val and test may be missing, and its classes in their order."""

    where: str
    splits: Mapping[str, Listing]
    classes: Sequence[str]
    notes: list[str] = field(default_factory=list)


class Folder:
    """A tree of image files, of which no link leads out unless ``symlinks`` allows it."""

    def __init__(self, key: str, root: str | None, symlinks: bool) -> None:
        if root is None:
            raise UserError(f"{key} is not set; it must name a folder of images.")
        self.key, self.symlinks = key, symlinks
        self.real = os.path.realpath(os.path.expanduser(root))
        self.ignored: list[str] = []
        if not os.path.isdir(self.real):
            raise UserError(f"{key}: there is no folder {root!r}; it must name a folder of images.")

    def entries(self, folder: str) -> list[tuple[str, str, bool]]:
        """Return (name, real path, is it a folder) of what stands in ``folder``, sorted, hidden files left out.

        Raises UserError for a link out of the tree.
        """
        with os.scandir(folder) as scan:
            found = [
                (entry.name, self.follow(entry.path) if entry.is_symlink() else entry.path, entry.is_dir())
                for entry in scan
                if not entry.name.startswith(".")
            ]
        return sorted(found)

    def follow(self, path: str) -> str:
        """Return the real path behind ``path``; raises UserError where it lies outside the tree."""
        real = os.path.realpath(path)
        if not self.symlinks and not real.startswith(self.real + os.sep):
            raise UserError(
                f"{self.key}: {path} leads out of {self.real}, to {real}; copy it, or set data.symlinks=true."
            )
        return real

    def images(self, folder: str, name: str) -> Iterator[tuple[str, str]]:
        """Yield (name below the root, real path) of the image files under ``folder``, whose own name is ``name``."""
        for child, real, is_folder in self.entries(folder):
            below = f"{name}/{child}"
            if is_folder and (folder + os.sep).startswith(real + os.sep):
                raise UserError(f"{self.key}: {below} is a link to a folder that holds it; remove it.")
            if is_folder:
                yield from self.images(real, below)
            elif os.path.splitext(child)[1].lower() in EXTENSIONS:
                yield below, real
            else:
                self.ignored.append(below)

    def classes(self, folder: str, name: str) -> Listing:
        """Return the images under ``folder``, each labelled with the subfolder it stands in."""
        names, labels, images = [], [], []
        for label, real, is_folder in self.entries(folder):
            if not is_folder:
                self.ignored.append(f"{name}{label}")
                continue
            for below, path in self.images(real, f"{name}{label}"):
                names.append(below)
                labels.append(label)
                images.append(path)
        return Listing(names, labels, images)


def read_folder(root: str | None, symlinks: bool) -> Found:
    """Read folders train, val and test that hold a folder for each class, or a folder for each class at once.

    Raises UserError where there is no image, no folder of a class, a class without an image, or another folder
    beside train.
    """
    folder = Folder("data.root", root, symlinks)
    top = {name: real for name, real, is_folder in folder.entries(folder.real) if is_folder}
    parted = [name for name in SPLITS if name in top and any(entry[2] for entry in folder.entries(top[name]))]
    if parted and "train" not in parted:
        raise UserError(f"data.root: {root} holds {named(parted)} but no train with a folder for each class.")
    if parted:
        others = sorted(set(top) - set(SPLITS))
        if others:
            raise UserError(
                f"data.root: {root} holds {named(others)} beside train; its folders are train, val and test."
            )
        splits = {name: folder.classes(top[name], f"{name}/") for name in SPLITS if name in top}
        classes = [name for name, _, is_folder in folder.entries(top["train"]) if is_folder]
    else:
        splits, classes = {"train": folder.classes(folder.real, "")}, sorted(top)
    _require_images(splits["train"], classes, f"data.root: {root}")
    notes = [f"ignored {len(folder.ignored)} files that are not named as images: {named(folder.ignored, 3)}"]
    return Found(f"data.root: {root}", splits, classes, notes if folder.ignored else [])


def _require_images(train: Listing, classes: Sequence[str], where: str) -> None:
    if not classes:
        raise UserError(f"{where} holds no folder of a class; put each class's images into a folder named after it.")
    if not len(train):
        raise UserError(f"{where} holds no training images ({', '.join(sorted(EXTENSIONS))}).")
    empty = sorted(set(classes) - set(train.labels))
    if empty:
        raise UserError(f"{where} has no training images of {named(empty)}; add some or remove the folder.")


@dataclass(frozen=True)
class Columns:
    """The names of a manifest's columns."""

    path: str
    label: str
    split: str


def read_manifest(manifest: str | None, root: str | None, columns: Columns, symlinks: bool) -> Found:
    """Read a CSV file of paths, labels and, where that column is there, splits; paths are relative to ``root``.

    Raises UserError for a missing file or column, an empty cell, an unknown split, or a path out of ``root``.
    """
    if manifest is None:
        raise UserError("data.manifest is not set; it must name a CSV file with a header line.")
    file = Path(manifest).expanduser()
    folder = Folder("data.root", root if root is not None else str(file.parent), symlinks)
    rows = list(_rows(file, columns))
    if not rows:
        raise UserError(f"data.manifest: {manifest} lists no images.")
    splits = {}
    for split in SPLITS:
        chosen = [(path, label) for path, label, stands_in in rows if stands_in == split]
        if chosen:
            paths = [folder.follow(os.path.join(folder.real, path)) for path, _ in chosen]
            splits[split] = Listing([path for path, _ in chosen], [label for _, label in chosen], paths)
    if "train" not in splits:
        raise UserError(f"data.manifest: {manifest} has no row whose {columns.split} is train.")
    labels = set(splits["train"].labels)
    numbers = all(label.isascii() and label.isdigit() for label in labels)
    classes = sorted(labels, key=lambda label: (int(label), label)) if numbers else sorted(labels)
    return Found(f"data.manifest: {manifest}", splits, classes)


def _rows(file: Path, columns: Columns) -> Iterator[tuple[str, str, str]]:
    """Yield (path, label, split) of each row; without a column of splits, all is train."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            header = reader.fieldnames or []
            for key, column in (("path_column", columns.path), ("label_column", columns.label)):
                if column not in header:
                    raise UserError(
                        f"data.{key}: {file} has no column {column!r}; its columns are: {', '.join(header)}."
                    )
            for row in reader:
                yield _row(row, columns, columns.split in header, f"data.manifest: line {reader.line_num} of {file}")
    except OSError as error:
        raise UserError(f"data.manifest: {file} cannot be read ({error.strerror}); it must be a CSV file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.manifest: {file} is not a CSV file in UTF-8 ({error}).") from error


def _row(row: dict[str, str | None], columns: Columns, has_split: bool, where: str) -> tuple[str, str, str]:
    path, label = (row[columns.path] or "").strip(), (row[columns.label] or "").strip()
    if not path or not label:
        raise UserError(f"{where} has no {columns.label if path else columns.path}; every row needs one.")
    split = (row[columns.split] or "").strip() if has_split else "train"
    if split not in SPLITS:
        raise UserError(f"{where} has {columns.split} {split!r}; it is one of: {', '.join(SPLITS)}.")
    return path, label, split
