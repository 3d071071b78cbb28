"""CSV as Frostline writes it: no spreadsheet runs a cell of it, any name fits in, and it is read back as it was."""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from frostline.files.atomic import NAMES, encoded, irregular, write_atomic

LONGEST = 1 << 24
RUNS = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""How a text begins that a spreadsheet would run; or one that begins with quotes before it, so that it is read back."""
NUMBER = re.compile(r"[+-](?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-](?:inf|nan)", re.IGNORECASE | re.ASCII)


def cell(value: Any) -> Any:
    """Return ``value`` as a cell: a quote stands before text that would run as a formula; numbers are as they are."""
    if not isinstance(value, str):
        return value
    return encoded(f"'{value}" if runs(value) else value).decode("utf-8", NAMES)


def text(cell: str) -> str:
    """Return the text that ``cell`` was made of."""
    return cell[1:] if cell.startswith("'") and runs(cell[1:]) else cell


def runs(text: str) -> bool:
    """Return whether a spreadsheet would take ``text`` for a formula, were it not for quotes before it."""
    return RUNS.match(text) is not None and NUMBER.fullmatch(text) is None


def line(values: Iterable[Any]) -> str:
    """Return values as one line of a table, None as an empty cell."""
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator="\r\n").writerow([cell(value) for value in values])  # quotes both in a cell
    return made.getvalue().removesuffix("\r\n") + "\n"


class Sheet:
    """Writes rows into an open file; the columns are those of the first row."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._columns: list[str] = []

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        if not self._columns:
            self._columns = list(row)
            self._file.write(line(self._columns))
        self._file.write(line(row[name] for name in self._columns))


def write_sheet(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as a table, atomically; the columns are those of all rows, in order of appearance."""
    rows = list(rows)
    columns = dict.fromkeys(name for row in rows for name in row)
    write_atomic(path, line(columns) + "".join(line(row.get(name) for name in columns) for row in rows))


def read_sheet(path: str | os.PathLike, columns: int | None = None) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that Frostline has written, of its first columns or of all, as far as it can be read.

    None where there is none, or no file. A row that is being written is as short as it is. No more than a line is
    held, and of no more than ``LONGEST`` characters.
    """
    csv.field_size_limit(LONGEST)  # a transcript or a note may be longer than the 128 KiB that csv allows a cell
    try:
        if irregular(path) is not None or not os.stat(path).st_size:  # as are the kernel's, which may be endless
            return
        with open(path, newline="", encoding="utf-8", errors=NAMES) as file:
            lines = csv.reader(_lines(file))
            names = [text(name) for name in next(lines, [])[:columns]]
            for line in lines:
                yield dict(zip(names, map(text, line), strict=False))
    except (OSError, csv.Error):
        return


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file. Raises csv.Error for one that is longer than any that Frostline writes."""
    while line := file.readline(LONGEST):
        if len(line) == LONGEST and not line.endswith("\n"):
            raise csv.Error(f"a line of more than {LONGEST:,} characters")
        yield line
