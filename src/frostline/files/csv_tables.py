"""CSV files as Frostline writes and reads them: no spreadsheet runs a cell, and any name comes back as it was."""

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from frostline.files.atomic import NAMES, describe_irregular, encode_names, write_atomic

LONGEST = 1 << 24
RUNS = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""How a text begins that a spreadsheet would run as a formula, and one that has quotes before such a beginning."""
NUMBER = re.compile(r"[+-](?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-](?:inf|nan)", re.IGNORECASE | re.ASCII)


def guard_cell(value: Any) -> Any:
    """Return ``value`` as a cell: text that a spreadsheet would run as a formula gets a quote before it."""
    if not isinstance(value, str):
        return value
    return encode_names(f"'{value}" if is_formula(value) else value).decode("utf-8", NAMES)


def unguard_cell(cell: str) -> str:
    """Return the text of which ``guard_cell`` made a cell."""
    return cell[1:] if cell.startswith("'") and is_formula(cell[1:]) else cell


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would take ``text`` for a formula, if any quotes before it were left out."""
    return RUNS.match(text) is not None and NUMBER.fullmatch(text) is None


def make_csv_line(values: Iterable[Any]) -> str:
    """Return values as one line of a table, None as an empty cell."""
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator="\r\n").writerow([guard_cell(value) for value in values])  # quotes both in a cell
    return made.getvalue().removesuffix("\r\n") + "\n"


class CsvWriter:
    """Writes rows into an open file; the columns are those of the first row."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._columns: list[str] = []

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        if not self._columns:
            self._columns = list(row)
            self._file.write(make_csv_line(self._columns))
        self._file.write(make_csv_line(row[name] for name in self._columns))


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as a table, atomically; the columns are those of all rows, in order of appearance."""
    rows = list(rows)
    columns = dict.fromkeys(name for row in rows for name in row)
    write_atomic(
        path, make_csv_line(columns) + "".join(make_csv_line(row.get(name) for name in columns) for row in rows)
    )


def read_csv(path: str | os.PathLike, columns: int | None = None) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that Frostline has written: all columns, or the first ``columns`` of them.

    It ends where the table cannot be read, and yields nothing where there is no file. A row that is still being
    written lacks its last cells. One line is held in memory at a time, of at most ``LONGEST`` characters.
    """
    csv.field_size_limit(LONGEST)  # a transcript or a note may be longer than the 128 KiB that csv allows a cell
    try:
        if (
            describe_irregular(path) is not None or not os.stat(path).st_size
        ):  # as are the kernel's, which may be endless
            return
        with open(path, newline="", encoding="utf-8", errors=NAMES) as file:
            lines = csv.reader(_lines(file))
            names = [unguard_cell(name) for name in next(lines, [])[:columns]]
            for line in lines:
                yield dict(zip(names, map(unguard_cell, line), strict=False))
    except (OSError, csv.Error):
        return


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file. Raises csv.Error for one that is longer than any that Frostline writes."""
    while line := file.readline(LONGEST):
        if len(line) == LONGEST and not line.endswith("\n"):
            raise csv.Error(f"a line of more than {LONGEST:,} characters")
        yield line
