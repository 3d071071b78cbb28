"""What a run's data, weights and code hold: the files that their readers read, by name and SHA-256, not by path."""

import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from frostline.data.folders import FILES, IMAGES, RECORDINGS, Columns, Folder, Kind, read_folder, read_manifest
from frostline.data.index import DataIndex, index_folder, read_digests
from frostline.data.text.corpus import split_tables
from frostline.errors import UserError
from frostline.files.atomic import sha256_json

PLACES = ("manifest", "file", "root", "path")
"""The keys of `data` that name files; the first that is set tells data sets apart in the data index."""

KINDS = {"frostline.data.image.datasets": IMAGES, "frostline.data.speech.datasets": RECORDINGS}
PUBLISHED = ("frostline.data.image.published.", "frostline.data.speech.published.")
CODE = (".py", ".so", ".pyd")

Files = list[tuple[str, str]]
"""Names that stay when a data set is moved, and real paths."""


def find_data_place(data: Mapping[str, Any]) -> str | None:
    """Return where a data set lies, None for one that comes with a package or is known by its name."""
    return None if is_published(data) else next((str(data[key]) for key in PLACES if data.get(key)), None)


def is_published(data: Mapping[str, Any]) -> bool:
    """Return whether a data set is known by its name, wherever it was downloaded to."""
    return str(data.get("_target_")).startswith(PUBLISHED)


def hash_data(data: Mapping[str, Any], outputs: Path) -> str | None:
    """Return the SHA-256 that stands for all that the reader of a data node reads, by the readers' own listing.

    None where it reads no files, or none that are there: the reader then says what is wrong.
    """
    place = find_data_place(data)
    if place is None or not os.path.exists(os.path.expanduser(place)):
        return None
    try:
        return hash_files(list_data_files(data), outputs, place)
    except (UserError, OSError):
        return None


def hash_files(files: Files, outputs: Path, place: str) -> str:
    """Return the SHA-256 over the names and contents of files, each read only where the data index does not know it."""
    files = sorted(set(files))
    index = DataIndex(index_folder(outputs), place)
    found = read_digests(index, [path for _, path in files])
    return sha256_json([[name, digest] for (name, _), digest in zip(files, found, strict=True)])


def list_data_files(data: Mapping[str, Any]) -> Files:
    """Return the files that the reader of a data node reads, listed by the functions that it lists them with.

    Of a reader of the user's own nothing is known: all files below its places. Raises UserError as they do.
    """
    module = str(data.get("_target_")).rpartition(".")[0]
    kind, symlinks, root = KINDS.get(module), bool(data.get("symlinks")), data.get("root")
    if kind is not None and data.get("manifest"):
        return list_manifest_files(data, kind, symlinks)
    if kind is not None:
        return list_folder_files(root, kind, symlinks)
    if module == "frostline.data.text.datasets" and root is not None:
        return [(split, str(table)) for split, table in split_tables(str(root), symlinks).items()]
    return [file for key in PLACES if data.get(key) for file in list_all_files(str(data[key]), key)]


def list_manifest_files(data: Mapping[str, Any], kind: Kind, symlinks: bool) -> Files:
    """Return a table and the files that it lists."""
    names = (data.get(f"{key}_column", key) for key in ("path", "label", "split"))
    found = read_manifest(
        data["manifest"], data.get("root"), Columns(*names), symlinks, blank=True, kind=kind, skip=True
    )
    listed = [pair for listing in found.splits.values() for pair in zip(listing.names, listing.content, strict=True)]
    return [("manifest", os.path.realpath(os.path.expanduser(data["manifest"]))), *listed]


def list_folder_files(root: str | None, kind: Kind, symlinks: bool) -> Files:
    """Return the samples in a folder of classes or splits, with their names below it."""
    found = read_folder(root, symlinks, kind)
    return [pair for listing in found.splits.values() for pair in zip(listing.names, listing.content, strict=True)]


def list_recordings(root: str) -> Files:
    """Return the recordings that an adapter may hear, as ``data.speech.recordings.read_some`` finds them."""
    folder = Folder("adapter.source", root, symlinks=False, kind=RECORDINGS)
    return [*folder.list_files(folder.real, "")]


def list_all_files(place: str, name: str) -> Files:
    """Return a file, or every file below a folder, links followed; hidden ones and our own output are left out."""
    path = os.path.realpath(os.path.expanduser(place))
    if not os.path.isdir(path):
        return [(name, path)]
    return [*Folder(name, path, symlinks=True, kind=FILES).list_files(path, name)]


def list_code_files(modules: Iterable[str]) -> Files:
    """Return the source files of the packages that modules stand in, found as Python would, and not imported."""
    found: Files = []
    for package in sorted({module.partition(".")[0] for module in modules}):
        try:
            spec = find_spec(package)  # of a package at the top, which is not imported for it
        except ValueError:  # a module that was made and not found, such as __main__, has no source to go by
            spec = None
        places = [] if spec is None else list(spec.submodule_search_locations or [])
        if spec is not None and not places and spec.origin:
            found.append((package, spec.origin))
        for place in places:
            found += [file for file in list_all_files(place, package) if file[0].endswith(CODE)]
    return found
