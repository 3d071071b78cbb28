"""Rows of CSV, TSV, JSON lines and Parquet files, each with the place to name when something in it is wrong.

What is malformed is refused with its line; a row that merely lacks something may be left out.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

from frostline.data.splits import SPLITS, split_called
from frostline.data.tables.formats import READERS, Malformed, RowPlace
from frostline.errors import UserError, read_first_line
from frostline.files.atomic import NAMES, describe_irregular
from frostline.units import join_lines, join_names

SPLIT = "split"
"""The column of splits where the user names none; there need not be one."""
ALIKE = ("split", "splits", "partition", "subset", "data_split", "dataset_split", "usage", "set", "fold")
"""What such a column is called as well, in small letters: it is taken, and said, if its first cell names a split."""

MOST = 30  # columns that are named


@dataclass(frozen=True)
class Row:
    """One row: a ``name``, ``where`` it stands, with the key that named the file, its cells by column, and its split.

    The split is empty where the row says nothing of it and others do.
    """

    name: str
    where: str
    cells: Mapping[str, Any]
    split: str = "train"

    def cell(self, column: str) -> str:
        """Return the text of a cell without the space around it; empty where nothing is there, NaN included.

        A whole number is written as one, also where a file has it as 1.0, as it must where its column has gaps.
        Raises UserError for what is neither text nor a number.
        """
        value = self.cells.get(column)
        if value is None or isinstance(value, str):
            return (value or "").strip()
        if not isinstance(value, Real | Decimal):
            raise UserError(f"{self.where} has a {type(value).__name__} in {column}; it takes text or a number.")
        if isinstance(value, int | Decimal):
            return "" if value != value else _digits(value)
        number = float(value)
        if math.isnan(number):
            return ""
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else str(number)

    def find_flaw(self, column: str, blank: bool = False, path: bool = False) -> str | None:
        """Return why a row cannot be used for what it has in a column, or None.

        ``blank`` lets the cell be empty; ``path`` lets it be the name of a file, which may be any bytes.
        """
        cell = self.cell(column)
        if not cell:
            return None if blank else f"has no {column}"
        return (reason := find_flaw(cell, path)) and f"{reason} in {column}"

    def why_unusable(self, columns: Iterable[str], blank: str | None = None, path: str | None = None) -> str | None:
        """Return why a row cannot be used for what it has in these columns, or that it has no split; or None.

        The column ``blank`` may be empty, ``path`` holds the name of a file.
        """
        for one in columns:
            if (reason := self.find_flaw(one, one == blank, one == path)) is not None:
                return reason
        return None if self.split else "has no split"


def note_bad_rows(bad: Sequence[str], where: str, skip: bool) -> list[str]:
    """Return a note that counts the rows that are left out. Raises UserError with them, unless they are skipped."""
    if not bad:
        return []
    if not skip:
        raise UserError(
            f"{where}: {len(bad)} rows cannot be used: {join_lines(bad)}. Mend or remove them, or set data.on_bad=skip."
        )
    return [f"left out {len(bad)} rows that cannot be used: {join_lines(bad)}"]


def _digits(value: int | Decimal) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return f"{value:x}"


def find_flaw(text: str, path: bool = False) -> str | None:
    """Return why a text, or the name of a file, cannot be used, or None: no network and no table takes it."""
    if "\0" in text:
        return "has a NUL character"
    if text.isascii():
        return None
    try:
        text.encode("utf-8", NAMES if path else "strict")
    except UnicodeEncodeError as error:
        byte = 0xDC80 <= ord(text[error.start]) <= 0xDCFF
        return "has bytes that are not UTF-8" if byte else "has half a character (a lone surrogate)"
    return None


class TableRows:
    """The rows of a file, whose ending says what it is (CSV, where it says nothing), read while they are iterated.

    ``key`` is the config's key that named the file, ``columns`` are the needed columns by the keys that named them
    (``{"text_column": "text"}``), ``split`` is the column of splits: None if there is none, ``SPLIT`` if it need not be
    there. After all rows, ``notes`` holds what the user should be told. Iterating raises UserError for a file that
    cannot be read or is malformed, a column that is not there, and a split that is none.
    """

    def __init__(self, file: Path, key: str, columns: Mapping[str, str], split: str | None = None) -> None:
        self.file, self.key, self.columns, self.asked = file, key, columns, split
        self.split: str | None = None
        self.notes: list[str] = []
        self._begun, self._first = False, True
        self._seen: list[str] = []
        self._used: list[str] = []
        self._long: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        kind, read = READERS.get(self.file.suffix.lower(), READERS[".csv"])
        try:
            if (what := describe_irregular(self.file)) is not None:
                raise UserError(f"{self.key}: {self.file} {what}; expected {kind}.")
            for place, cells in read(self.file, self._choose):
                yield self._row(place, cells)
        except OSError as error:
            reason = error.strerror or read_first_line(error)
            raise UserError(f"{self.key}: {self.file} cannot be read ({reason}); expected {kind}.") from error
        except Malformed as error:
            if error.place:
                raise UserError(f"{self.key}: {error.place} of {self.file} {error.said}.") from error
            raise UserError(f"{self.key}: {self.file} is not {kind} in UTF-8 ({error.said}).") from error
        self._conclude()

    def _conclude(self) -> None:
        if self._long:
            some = join_lines(self._long, 3)
            self.notes.append(f"{len(self._long)} rows of {self.file.name} go over several lines, in quotes: {some}")
        if self.split != self.asked and self.split is not None:
            self.notes.append(f"the splits are those of the column {self.split!r} (data.split_column=null takes none)")

    def _choose(self, names: Sequence[str], place: str) -> Sequence[str]:
        """Check the names of columns; those found first decide which of them holds the splits."""
        if names == self._seen:  # as those of the row before, most often
            return self._used
        doubled = sorted({name for name in names if name and names.count(name) > 1})
        if doubled:
            raise Malformed(
                f"has the column {join_lines([*map(repr, doubled)])} twice; rename one",
                place or "the header",
            )
        if not self._begun:
            self._begun, self.split = True, self._splits(names)
        elif self.split is None and self.asked in names:
            raise Malformed(f"has {self.asked!r}, which rows before it lack; every row needs one", place)
        needed = dict(self.columns) | ({} if self.split is None else {"split_column": self.split})
        check_columns(names, f"{place} of {self.file}" if place else self.file, needed)
        self._seen, self._used = [*names], [*dict.fromkeys(needed.values())]
        return self._used

    def _splits(self, names: Sequence[str]) -> str | None:
        """Return the column of splits: the one that was asked for, or one that is called alike."""
        if self.asked != SPLIT or SPLIT in names:
            return self.asked
        alike = [name for name in names if name.strip().lower() in ALIKE and name not in self.columns.values()]
        return min(alike, key=lambda name: ALIKE.index(name.strip().lower()), default=None)

    def _row(self, place: RowPlace, cells: Mapping[str, Any]) -> Row:
        if place.said.startswith("lines"):
            self._long.append(place.said)
        row = Row(f"{self.file.name}:{place.number}", f"{self.key}: {place.said} of {self.file}", cells)
        first, self._first = self._first, False
        if self.split is None:
            return row
        said = row.cell(self.split)
        split = split_called(said)
        if split is None and first and self.split != self.asked:
            self.split = None  # a column that is merely called so
            return row
        if split is None and said:
            raise UserError(f"{row.where} has {self.split} {said!r}; it is one of: {', '.join(SPLITS)}.")
        return Row(row.name, row.where, cells, split or "")


def read_rows(file: Path, key: str, columns: Mapping[str, str], split: str | None = None) -> TableRows:
    """Return the rows of a file, as :class:`TableRows` says."""
    return TableRows(file, key, columns, split)


def check_columns(header: Sequence[str], where: object, columns: Mapping[str, str]) -> None:
    """Raise UserError where a needed column is missing."""
    for key, column in columns.items():
        if column not in header:
            names = join_names(header, MOST)
            raise UserError(f"data.{key}: {where} has no column {column!r}; its columns are: {names}.")
