"""The formats of tables, read strictly: what is malformed is named by its line, and never mended in silence."""

import codecs
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from frostline.errors import UserError, read_first_line
from frostline.files.atomic import NAMES

Choose = Callable[[Sequence[str], str], Sequence[str]]
"""Checks the names of columns, found at a place in a file ("" for its header); returns those that are of use."""


class RowPlace(NamedTuple):
    """Where a row stands, for people, and its number: of a line the last one that it takes."""

    said: str
    number: int


Found = Iterator[tuple[RowPlace, Mapping[str, Any]]]


class Malformed(Exception):
    """What is wrong with a file, at a place in it, or with all of it (""); the text ends with what would be right."""

    def __init__(self, said: str, place: str = "") -> None:
        super().__init__(said)
        self.said, self.place = said, place


PEEKED = 1 << 16
UTF16 = "it begins as UTF-16 does; save it in UTF-8"


def _open_text(file: Path) -> TextIO:
    """Open a file as text; bytes that are no UTF-8 stay, as halves of characters, so that their row can be named."""
    binary = file.open("rb")
    start = binary.read(PEEKED)
    binary.seek(0)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        binary.close()
        line = start.partition(b"\0")[0].count(b"\n") + 1
        raise Malformed(UTF16 if start[:1] in (b"\xff", b"\xfe") else f"line {line} has a NUL byte")
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors=NAMES, newline="")


CELL = r' *+(?:"(?:[^"]++|"")*+"|[^",\r\n][^",\r\n]*+(?:"[^",\r\n]*+"[^",\r\n]*+)*+)?'
"""A cell of RFC 4180: in quotes, or without any; pairs of quotes that hold no comma do no harm inside."""
RECORD = re.compile(rf"{CELL}(?:,{CELL})*+[\r\n]*+")


class _Lines:
    """The lines of a file for csv, which does not say where a row began: ``held`` are those of the present one."""

    def __init__(self, file: TextIO) -> None:
        self._file, self.number = file, 0
        self.held: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.number += 1
            if "\0" in line:
                raise Malformed(f"line {self.number} has a NUL byte")
            self.held.append(line)
            yield line

    def begin_row(self) -> None:
        """Hold the lines of another row from here on."""
        self.held.clear()

    def place(self) -> RowPlace:
        first = self.number - len(self.held) + 1
        return RowPlace(f"line {first}" if len(self.held) == 1 else f"lines {first}-{self.number}", self.number)


def _csv(file: Path, choose: Choose) -> Found:
    csv.field_size_limit(sys.maxsize)  # a text may be longer than the 128 KiB that csv allows a cell
    comma = "\t" if file.suffix.lower() == ".tsv" else ","
    header: list[str] = []
    with _open_text(file) as opened:
        for place, cells in _records(_Lines(opened), comma):
            if not header:
                header = [name.strip() for name in cells]
                choose(header, "")
            elif len(cells) == len(header):
                yield place, dict(zip(header, cells, strict=True))
            else:
                beyond = ", or put quotes around one that holds a comma" if comma == "," else ""
                said = f"has {len(cells)} cells, and the header has {len(header)}"
                raise Malformed(f"{said}; give it as many{beyond}", place.said)
    if not any(header):
        raise Malformed("it has no header, a first line that names the columns")


def _records(lines: _Lines, comma: str) -> Iterator[tuple[RowPlace, list[str]]]:
    """Yield the cells of each row that is not blank. Raises Malformed for quotes that are not those of a cell."""
    reader = csv.reader(lines, delimiter=comma, strict=True, skipinitialspace=True)
    while True:
        lines.begin_row()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            first = lines.number - len(lines.held) + 1
            said = f"has a cell that begins with a quote and does not end with one ({error}, line {lines.number})"
            raise Malformed(f"{said}; put such a cell in quotes, those inside it doubled", f"line {first}") from error
        if cells is None:
            return
        raw, place = "".join(lines.held), lines.place()
        if not raw.strip(" \r\n"):
            continue
        if comma == "," and '"' in raw and not RECORD.fullmatch(raw):
            said = "has a quote in the middle of a cell"
            raise Malformed(f"{said}; put such a cell in quotes, those inside it doubled", place.said)
        if comma == "\t" and any("\t" in cell and ("\n" in cell or "\r" in cell) for cell in cells):
            said = "are one row by the quotes around them, and hold tabs"
            raise Malformed(f"{said}; put cells that begin with a quote in quotes, those inside doubled", place.said)
        yield place, cells


def _json_lines(file: Path, choose: Choose) -> Found:
    with _open_text(file) as opened:
        for number, line in enumerate(opened, 1):
            if not line.strip():
                continue
            place = f"line {number}"
            try:
                row = json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                raise Malformed(f"is no JSON ({error}); expected an object on each line", place) from error
            if not isinstance(row, dict):
                raise Malformed(f"is a {type(row).__name__} in JSON; expected an object on each line", place)
            choose([*row], place)
            yield RowPlace(place, number), row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands in it twice")
    return made


def _parquet(file: Path, choose: Choose) -> Found:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise UserError(f"{file} needs the package pyarrow; run: pip install 'frostline[text]'.") from error
    number = 0
    try:
        with parquet.ParquetFile(file) as opened:
            used = choose(opened.schema_arrow.names, "")
            for batch in opened.iter_batches(columns=used):
                columns = {name: _values(batch.column(name)) for name in used}
                for index in range(batch.num_rows):
                    number += 1
                    yield RowPlace(f"row {number}", number), {name: values[index] for name, values in columns.items()}
    except pyarrow.ArrowException as error:
        raise Malformed(read_first_line(error)) from error


def _values(column: Any) -> list[Any]:
    """Return the values of a column; bytes that are no UTF-8 stay in its texts, so that their row can be named."""
    import pyarrow

    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        plain = column.dictionary_decode() if isinstance(column, pyarrow.DictionaryArray) else column
        found = plain.cast(pyarrow.large_binary()).to_pylist()
        return [value if value is None else value.decode("utf-8", NAMES) for value in found]


READERS: dict[str, tuple[str, Callable[[Path, Choose], Found]]] = {
    ".csv": ("a CSV file", _csv),
    ".tsv": ("a file of values between tabs", _csv),
    ".jsonl": ("a file of JSON lines", _json_lines),
    ".parquet": ("a Parquet file", _parquet),
}
