"""What a user wants predictions for: files, folders, tables, lines of standard input, one after the other."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from frostline.data.listing import IMAGES, RECORDINGS, Folder, Kind
from frostline.data.tables import READERS, read_rows
from frostline.errors import UserError

LINES = ".txt"
TEXTS = Kind("texts", frozenset({LINES, *READERS}))
KINDS = {"image": IMAGES, "text": TEXTS, "speech": RECORDINGS}
STDIN = "-"


class Item(NamedTuple):
    """A sample that is not read yet: its name, and its text or the path of its file."""

    name: str
    content: str


def items(paths: Sequence[str], modality: str, column: str, stdin: Iterable[str] = ()) -> Iterator[Item]:
    """Yield what ``paths`` name, reading ahead as little as can be; ``column`` is that of texts in tables.

    Raises UserError for a path that is not there or, for texts, has another ending, and where there is nothing at all.
    """
    count = 0
    for path in paths:
        for item in _of(path, modality, column, stdin):
            count += 1
            yield item
    if not count:
        raise UserError(f"PATH: there are no {KINDS[modality].noun} in {', '.join(paths)}.")


def _of(path: str, modality: str, column: str, stdin: Iterable[str]) -> Iterator[Item]:
    if path == STDIN:
        lines = _lines("stdin", stdin)
        yield from lines if modality == "text" else (Item(line.content, line.content) for line in lines)
    elif os.path.isdir(path):
        for name, file in _files(path, KINDS[modality]):
            yield from _file(name, file, modality, column)
    elif os.path.lexists(path):
        yield from _file(path, path, modality, column)
    else:
        raise UserError(f"PATH: there is no file or folder {path}.")


def _files(path: str, kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield (name, real path) of the files of a kind in a folder and its subfolders, in order; links are followed."""
    folder = Folder("PATH", path, symlinks=True, kind=kind)
    for below, real in folder.files(folder.real, path.rstrip(os.sep)):
        folder.ignored.clear()  # of any number of files that are something else
        yield below, real


def _file(name: str, file: str, modality: str, column: str) -> Iterator[Item]:
    if modality != "text":
        yield Item(name, file)
    elif Path(file).suffix.lower() == LINES:
        try:
            with open(file, encoding="utf-8-sig") as opened:
                yield from _lines(name, opened)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"PATH: {name} cannot be read as text in UTF-8 ({error}).") from error
    elif Path(file).suffix.lower() in READERS:
        for row in read_rows(Path(file), "PATH", {"text_column": column}):
            yield Item(f"{name}:{row.name.rpartition(':')[2]}", row.cell(column))
    else:
        raise UserError(f"PATH: {name} is no file of texts; their names end in {', '.join(sorted(TEXTS.extensions))}.")


def _lines(name: str, lines: Iterable[str]) -> Iterator[Item]:
    """Yield the lines that hold anything, named by their number."""
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            yield Item(f"{name}:{number}", text)
