"""Which files a folder or a manifest names, with which labels and in which split: nothing is decoded here."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from frostline.data.listing import Found, Listing, from_rows
from frostline.data.splits import SPLITS, split_called
from frostline.data.tables.formats import READERS
from frostline.data.tables.rows import SPLIT, note_bad_rows, read_rows
from frostline.errors import UserError
from frostline.units import join_lines


@dataclass(frozen=True)
class Kind:
    """The files that a data set is made of: what they are called, in the plural, and how their names end.

    Without ``extensions`` any file is one. ``table`` is the key that takes a single table in place of ``data.root``.
    """

    noun: str
    extensions: frozenset[str]
    table: str | None = None

    def has(self, name: str) -> bool:
        """Return whether a file of this name is one."""
        return not self.extensions or os.path.splitext(name)[1].lower() in self.extensions


IMAGES = Kind(
    "images",
    frozenset(
        ".jpg .jpeg .jpe .jfif .png .apng .ppm .pgm .pbm .pnm .pfm .bmp .dib .tif .tiff .webp .gif .avif .jp2 .j2k "
        ".heic .heif".split()
    ),
    "data=csv data.manifest",
)
RECORDINGS = Kind("recordings", frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"}), "data.manifest")
TABLES = Kind("tables", frozenset(READERS), "data.file")
FILES = Kind("files", frozenset())

OUTPUT = ("cache", "comparisons", "runs", "slurm", "studies", "sweeps")
"""What stands in an output folder."""


def is_output(folder: str) -> bool:
    """Return whether a folder is an output folder of this program, by what it holds: that is never data."""
    if os.path.isdir(os.path.join(folder, "cache", "index")):
        return True
    runs = os.path.join(folder, "runs")
    if not os.path.isdir(runs):
        return False
    return any(os.path.isfile(os.path.join(runs, run, "resolved.yaml")) for run in os.listdir(runs))


class Folder:
    """A tree of files of one kind, of which no link leads out unless ``symlinks`` allows it."""

    def __init__(self, key: str, root: str | None, symlinks: bool, kind: Kind = IMAGES) -> None:
        if root is None:
            raise UserError(f"{key} is not set; it must name a folder of {kind.noun}.")
        self.key, self.symlinks, self.kind = key, symlinks, kind
        self.real = os.path.realpath(os.path.expanduser(root))
        self.ignored: list[str] = []
        self.outputs: list[str] = []
        if os.path.isfile(self.real):
            hint = f" ({kind.table} takes a table)" if kind.table and key == "data.root" else ""
            raise UserError(f"{key}: {root!r} is a file; it must name a folder of {kind.noun}{hint}.")
        if not os.path.isdir(self.real):
            raise UserError(f"{key}: there is no folder {root!r}; it must name a folder of {kind.noun}.")

    def entries(self, folder: str) -> list[tuple[str, str, bool]]:
        """Return (name, real path, is it a folder) of what stands in ``folder``, sorted.

        Hidden files are left out, and so is what this program has written itself. Raises UserError for a link out of
        the tree.
        """
        with os.scandir(folder) as scan:
            found = sorted(
                (entry.name, self.follow(entry.path) if entry.is_symlink() else entry.path, entry.is_dir())
                for entry in scan
                if not entry.name.startswith(".")
            )
        inside = is_output(folder)
        own = [name for name, real, is_folder in found if is_folder and (inside and name in OUTPUT or is_output(real))]
        self.outputs += own
        return [entry for entry in found if entry[0] not in own]

    def follow(self, path: str) -> str:
        """Return the real path behind ``path``; raises UserError where it lies outside the tree."""
        real = os.path.realpath(path)
        if not self.symlinks and not real.startswith(self.real + os.sep):
            raise UserError(
                f"{self.key}: {path} leads out of {self.real}, to {real}; copy it, or set data.symlinks=true."
            )
        return real

    def files(self, folder: str, name: str) -> Iterator[tuple[str, str]]:
        """Yield (name below the root, real path) of this kind's files under ``folder``, whose own name is ``name``."""
        for child, real, is_folder in self.entries(folder):
            below = f"{name}/{child}"
            if is_folder and (folder + os.sep).startswith(real + os.sep):
                raise UserError(f"{self.key}: {below} is a link to a folder that holds it; remove it.")
            if is_folder:
                yield from self.files(real, below)
            elif self.kind.has(child):
                yield below, real
            else:
                self.ignored.append(below)

    def classes(self, folder: str, name: str) -> Listing:
        """Return the files under ``folder``, each labelled with the subfolder it stands in."""
        found: list[tuple[str, str, str]] = []
        for label, real, is_folder in self.entries(folder):
            if is_folder:
                found += [(below, label, path) for below, path in self.files(real, f"{name}{label}")]
            else:
                self.ignored.append(f"{name}{label}")
        return Listing.of(found)

    def forget_names(self) -> None:
        """Forget what was met so far of what is no file of this kind: there may be any number of names."""
        self.ignored.clear()
        self.outputs.clear()


def read_folder(root: str | None, symlinks: bool, kind: Kind = IMAGES) -> Found:
    """Read a folder for each split (train, val, test, or what else people call them) that holds one for each class.

    Without splits, a folder for each class at once. Raises UserError where there is no file of this kind, no folder
    of a class, a class without a file, or another folder beside the splits.
    """
    folder, where = Folder("data.root", root, symlinks, kind), f"data.root: {root}"
    top = {name: real for name, real, is_folder in folder.entries(folder.real) if is_folder}
    parted = _split_folders(folder, top, where)
    if parted:
        splits = {split: folder.classes(top[name], f"{name}/") for split, name in parted.items()}
        classes = [name for name, _, is_folder in folder.entries(top[parted["train"]]) if is_folder]
    else:
        splits, classes = {"train": folder.classes(folder.real, "")}, sorted(top)
    _require_files(splits["train"], classes, where, kind)
    renamed = [f"{name} as {split}" for split, name in parted.items() if name != split]
    notes = [f"took {join_lines(renamed)}"] if renamed else []
    if folder.ignored:
        notes.append(
            f"ignored {len(folder.ignored)} files that are not named as {kind.noun}: {join_lines(folder.ignored, 3)}"
        )
    if folder.outputs:
        notes.append(f"left out {join_lines(sorted(set(folder.outputs)))}: it is this program's own output")
    return Found(where, splits, classes, notes)


def _split_folders(folder: Folder, top: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the name of each split's folder; {} where the folders at the top are those of classes.

    They are splits where one that is called so holds folders, or where all are called so. Raises UserError for two
    folders of one split, none of train, and others beside them.
    """
    called = {name: split for name in top if (split := split_called(name)) is not None}
    with_folders = {name for name in called if any(entry[2] for entry in folder.entries(top[name]))}
    if not called or not (with_folders or len(called) == len(top)):
        return {}
    names: dict[str, list[str]] = {}
    for name, split in called.items():
        names.setdefault(split, []).append(name)
    for split, several in names.items():
        if len(several) > 1:
            raise UserError(f"{where} holds {' and '.join(several)}, which are both {split}; keep one of them.")
    if not any(name in with_folders for name in names.get("train", ())):
        others = [name for name, split in called.items() if split != "train"] or [*called]
        raise UserError(f"{where} holds {join_lines(others)} but no train with a folder for each class.")
    if others := sorted(set(top) - set(called)):
        raise UserError(f"{where} holds {join_lines(others)} beside train; its folders are train, val and test.")
    return {split: names[split][0] for split in SPLITS if split in names}


def _require_files(train: Listing, classes: Sequence[str], where: str, kind: Kind) -> None:
    if not classes:
        raise UserError(
            f"{where} holds no folder of a class; put each class's {kind.noun} into a folder named after it."
        )
    if not len(train):
        raise UserError(f"{where} holds no training {kind.noun} ({', '.join(sorted(kind.extensions))}).")
    empty = sorted(set(classes) - set(train.labels))
    if empty:
        raise UserError(f"{where} has no training {kind.noun} of {join_lines(empty)}; add some or remove the folder.")


@dataclass(frozen=True)
class Columns:
    """The names of a manifest's columns."""

    path: str
    label: str
    split: str | None


def read_manifest(
    manifest: str | None,
    root: str | None,
    columns: Columns,
    symlinks: bool,
    blank: bool = False,
    kind: Kind = IMAGES,
    skip: bool = False,
) -> Found:
    """Read a table of paths, labels and, where that column is there, splits; paths are relative to ``root``.

    ``blank`` lets a label be an empty text; ``skip`` leaves out the rows that lack something.
    Raises UserError for a missing file or column, an unknown split, rows that lack something, or a path out of
    ``root``.
    """
    if manifest is None:
        raise UserError("data.manifest is not set; it must name a CSV file with a header line.")
    file = Path(manifest).expanduser()
    folder = Folder("data.root", root if root is not None else str(file.parent), symlinks, kind)
    splits: dict[str, list[tuple[str, str, str]]] = {}
    needed = {"path_column": columns.path, "label_column": columns.label}
    rows, bad = read_rows(file, "data.manifest", needed, columns.split), list[str]()
    for row in rows:
        if (reason := row.why_unusable(needed.values(), columns.label if blank else None, columns.path)) is not None:
            bad.append(f"{row.name} {reason}")
            continue
        path = row.cell(columns.path)
        real = folder.follow(os.path.join(folder.real, path))
        splits.setdefault(row.split, []).append((path, row.cell(columns.label), real))
    where = f"data.manifest: {manifest}"
    notes = [*rows.notes, *note_bad_rows(bad, where, skip)]
    if not splits:
        raise UserError(f"{where} lists no {kind.noun}.")
    listings = {split: Listing.of(samples) for split, samples in splits.items()}
    return replace(from_rows(listings, where, columns.split or SPLIT), notes=notes)
