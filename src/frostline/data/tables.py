"""Rows of CSV, JSON lines and Parquet files, each with the place to name when something in it is wrong."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.data.splits import SPLITS
from frostline.errors import UserError


@dataclass(frozen=True)
class Row:
    """One row: a ``name``, ``where`` it stands, with the key that named the file, and its cells by column."""

    name: str
    where: str
    cells: Mapping[str, Any]

    def cell(self, column: str) -> str:
        """Return the text of a cell without the space around it; empty where nothing is there.

        Raises UserError for what is neither text nor a number.
        """
        value = self.cells.get(column)
        if value is None:
            return ""
        if not isinstance(value, str | int | float):
            raise UserError(f"{self.where} has a {type(value).__name__} in {column}; it takes text or a number.")
        return str(value).strip()

    def needed(self, column: str, blank: bool = False) -> str:
        """Return the text of a cell; raises UserError where nothing is there, unless that may be."""
        if not (cell := self.cell(column)) and not blank:
            raise UserError(f"{self.where} has no {column}; every row needs one.")
        return cell

    def split(self, column: str) -> str:
        """Return the split that the row is of: train where there is no such column. Raises UserError for another."""
        if (split := self.cell(column) if column in self.cells else "train") not in SPLITS:
            raise UserError(f"{self.where} has {column} {split!r}; it is one of: {', '.join(SPLITS)}.")
        return split


def read_rows(file: Path, key: str, columns: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows of a file, whose ending says what it is (CSV, where it says nothing).

    ``key`` is the config's key that named the file, ``columns`` are the needed columns by the keys that named them
    (``{"text_column": "text"}``). Raises UserError for a file that cannot be read and a column that is not there.
    """
    kind, read = READERS.get(file.suffix.lower(), READERS[".csv"])
    try:
        yield from read(file, key, columns)
    except OSError as error:
        raise UserError(f"{key}: {file} cannot be read ({error.strerror or error}); it must be {kind}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{key}: {file} is not {kind} in UTF-8 ({error}).") from error


def check_columns(header: list[str], where: object, columns: Mapping[str, str]) -> None:
    """Raise UserError where a needed column is missing."""
    for key, column in columns.items():
        if column not in header:
            names = ", ".join(header)
            raise UserError(f"data.{key}: {where} has no column {column!r}; its columns are: {names}.")


def _csv(file: Path, key: str, columns: Mapping[str, str]) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # a text may be longer than the 128 KiB that csv allows a cell
    with file.open(newline="", encoding="utf-8-sig") as opened:
        reader = csv.DictReader(opened, dialect="excel-tab" if file.suffix.lower() == ".tsv" else "excel")
        check_columns(list(reader.fieldnames or []), file, columns)
        for row in reader:
            yield Row(f"{file.name}:{reader.line_num}", f"{key}: line {reader.line_num} of {file}", row)


def _json_lines(file: Path, key: str, columns: Mapping[str, str]) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig") as opened:
        for number, line in enumerate(opened, 1):
            if not line.strip():
                continue
            where = f"{key}: line {number} of {file}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{where} is no JSON ({error}); each line must be an object.") from error
            if not isinstance(row, dict):
                raise UserError(f"{where} is a {type(row).__name__} in JSON; each line must be an object.")
            check_columns(list(row), f"line {number} of {file}", columns)
            yield Row(f"{file.name}:{number}", where, row)


def _parquet(file: Path, key: str, columns: Mapping[str, str]) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise UserError(f"{key}: {file} needs the package pyarrow; run: pip install 'frostline[text]'.") from error
    number = 0
    try:
        with parquet.ParquetFile(file) as opened:
            check_columns(list(opened.schema_arrow.names), file, columns)
            for batch in opened.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield Row(f"{file.name}:{number}", f"{key}: row {number} of {file}", row)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{key}: {file} is not a Parquet file ({str(error).rstrip('.')}).") from error


READERS = {
    ".csv": ("a CSV file", _csv),
    ".tsv": ("a file of values between tabs", _csv),
    ".jsonl": ("a file of JSON lines", _json_lines),
    ".parquet": ("a Parquet file", _parquet),
}
