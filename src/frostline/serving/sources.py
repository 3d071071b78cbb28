"""What a user wants predictions for: files, folders, tables, lines of standard input, one after the other."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from frostline.data.folders import IMAGES, RECORDINGS, Folder, Kind
from frostline.data.tables.formats import READERS
from frostline.data.tables.rows import read_rows
from frostline.errors import UserError
from frostline.files.atomic import NAMES, irregular

LINES = ".txt"
TEXTS = Kind("texts", frozenset({LINES, *READERS}))
KINDS = {"image": IMAGES, "text": TEXTS, "speech": RECORDINGS}
STDIN = "-"
SHOWN = 10


class Item(NamedTuple):
    """A sample that is not read yet: its name, its text or the path of its file, and why it cannot be read, if so."""

    name: str
    content: str
    reason: str | None = None


class Untaken:
    """What stands in folders and was not taken: how many, and the first of their names."""

    def __init__(self) -> None:
        self.count = 0
        self.names: list[str] = []

    def add(self, names: Sequence[str]) -> None:
        self.count += len(names)
        self.names += names[: SHOWN - len(self.names)]

    def said(self, kind: Kind) -> str:
        """Return a sentence that counts and names them."""
        more = f"; and {self.count - SHOWN} more" if self.count > SHOWN else ""
        endings = ", ".join(sorted(kind.extensions))
        return f"{self.count} files are not named as {kind.noun} ({endings}): {'; '.join(self.names)}{more}"


def items(
    paths: Sequence[str], modality: str, column: str, stdin: Iterable[str] = (), untaken: Untaken | None = None
) -> Iterator[Item]:
    """Yield what ``paths`` name, reading ahead as little as can be; ``column`` is that of texts in tables.

    ``untaken`` is told of what else stands in folders. Raises UserError for a path that is not there or, for texts, has
    another ending, for a table that is malformed, and where there is nothing at all.
    """
    count, untaken = 0, untaken or Untaken()
    for path in paths:
        for item in _of(path, modality, column, stdin, untaken):
            count += 1
            yield item
    if not count:
        others = f"; {untaken.said(KINDS[modality])}" if untaken.count else ""
        raise UserError(f"PATH: there are no {KINDS[modality].noun} in {', '.join(paths)}{others}.")


def _of(path: str, modality: str, column: str, stdin: Iterable[str], untaken: Untaken) -> Iterator[Item]:
    if path == STDIN and modality == "text":
        yield from _lines("stdin", stdin)
    elif path == STDIN:
        named = (line.rstrip("\r\n") for line in stdin)  # a name may begin or end with spaces
        yield from (Item(name, name) for name in named if name.strip())
    elif os.path.isdir(path):
        for name, file in _files(path, KINDS[modality], untaken):
            yield from _file(name, name if modality == "text" else file, modality, column)  # a name says what it is
    elif os.path.lexists(path):
        yield from _file(path, path, modality, column)
    else:
        raise UserError(f"PATH: there is no file or folder {path}.")


def _files(path: str, kind: Kind, untaken: Untaken) -> Iterator[tuple[str, str]]:
    """Yield (name, real path) of the files of a kind in a folder and its subfolders, in order; links are followed."""
    folder = Folder("PATH", path, symlinks=True, kind=kind)

    def tell() -> None:
        untaken.add(folder.ignored + [f"{name} (a folder of this program's own output)" for name in folder.outputs])
        folder.ignored.clear()
        folder.outputs.clear()

    for found in folder.files(folder.real, path.rstrip(os.sep)):
        tell()  # there may be any number of them
        yield found
    tell()


def _file(name: str, file: str, modality: str, column: str) -> Iterator[Item]:
    if modality != "text":
        yield Item(name, file)
    elif Path(file).suffix.lower() not in TEXTS.extensions:
        raise UserError(f"PATH: {name} is no file of texts; their names end in {', '.join(sorted(TEXTS.extensions))}.")
    elif (what := irregular(file)) is not None:
        yield Item(name, "", what)
    elif Path(file).suffix.lower() in READERS:
        for row in read_rows(Path(file), "PATH", {"text_column": column}):
            yield Item(f"{name}:{row.name.rpartition(':')[2]}", row.cell(column))
    else:
        try:
            with open(file, encoding="utf-8-sig", errors=NAMES) as opened:
                yield from _lines(name, opened)
        except OSError as error:
            yield Item(name, "", f"cannot be read ({error.strerror})")


def _lines(name: str, lines: Iterable[str]) -> Iterator[Item]:
    """Yield the lines that hold anything, named by their number."""
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            yield Item(f"{name}:{number}", text)
