"""The tables that Frostline writes: no spreadsheet runs a cell, any name fits in, and they are read as they were."""

import csv
import io
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.files.csv_tables import CsvWriter, guard_cell, make_csv_line, read_csv, unguard_cell, write_csv

BYTES = st.characters(codec="utf-8") | st.sampled_from([chr(0xDC00 + byte) for byte in range(0x80, 0x100)])
"""A letter as the name of a file has it: any but halves of characters, which stand for bytes that are no UTF-8."""
SIGNS = st.sampled_from(["'", "=", "+", "-", "@", "\t", "\r", "\n", " ", '"', ",", ";", "1", "a", "\uff1d"])
TEXTS = st.text(BYTES | SIGNS, max_size=12)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4))
@settings(max_examples=200)
def test_every_text_is_read_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, pairs: list) -> None:
    path = tmp_path_factory.getbasetemp() / "sheet.csv"
    rows = [{"=sample": one, "label": other} for one, other in pairs]
    write_csv(path, rows)
    read = list(read_csv(path))
    fixed = [{name: os.fsencode(value) for name, value in row.items()} for row in rows]
    assert [{name: os.fsencode(value) for name, value in row.items()} for row in read] == fixed


@given(TEXTS)
def test_no_spreadsheet_runs_a_cell(value: str) -> None:
    """What a spreadsheet takes for a formula, even after the space that it cuts off, is at most a number."""
    (cells,) = csv.reader(io.StringIO(make_csv_line([value]), newline=""))
    seen = cells[0].strip() if cells else ""
    if seen[:1] in set("=+-@\uff1d\uff0b\uff0d\uff20"):
        assert math.isfinite(float(seen)) or seen[1:].lower() in ("inf", "nan")
    assert not cells or cells[0][:1] not in ("\t", "\r", "\n")


@pytest.mark.parametrize("value", ["=1+1", "+cmd", "-x", "@sum", "  =1", "-1 0", "\t=1", "\r", "-1+1|x"])
def test_a_formula_is_text(value: str) -> None:
    assert guard_cell(value) == f"'{value}" and unguard_cell(guard_cell(value)) == value


@pytest.mark.parametrize("value", ["-1.5", "+2e3", 3, -0.5, "full", "", "'tis", "-inf", None])
def test_numbers_and_words_stay(value: object) -> None:
    assert guard_cell(value) == value and unguard_cell(str(value)) == str(value)


def test_a_table_has_the_columns_of_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_csv(path, [{"epoch": 0, "a": -1.5}, {"epoch": 1, "b, c": 'x "y"\nz'}])
    assert [*read_csv(path)] == [{"epoch": "0", "a": "-1.5", "b, c": ""}, {"epoch": "1", "a": "", "b, c": 'x "y"\nz'}]
    assert path.read_text().splitlines()[1] == "0,-1.5,"
    assert [*read_csv(path, 1)] == [{"epoch": "0"}, {"epoch": "1"}]


def test_rows_are_written_one_by_one_as_all_at_once(tmp_path: Path) -> None:
    rows = [{"sample": "=a", "prediction": "x\ry"}, {"sample": "b", "prediction": "-2"}]
    write_csv(tmp_path / "all.csv", rows)
    with (tmp_path / "each.csv").open("w", newline="") as file:
        sheet = CsvWriter(file)
        for row in rows:
            sheet.write(row)
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "each.csv").read_bytes()


def test_where_there_is_no_table_there_are_no_rows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert [*read_csv(tmp_path / "pipe.csv"), *read_csv(tmp_path / "none.csv"), *read_csv(tmp_path)] == []


def test_half_a_character_that_is_no_byte_is_written_as_its_escape(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"label": "a\ud83d"}])
    assert (tmp_path / "a.csv").read_text() == "label\na\\ud83d\n"
