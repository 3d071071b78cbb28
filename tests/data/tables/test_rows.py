"""Tables as people have them: what is malformed is refused by its line, what is missing is named or left out."""

import json
import math
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.data.folders import Columns, read_manifest
from frostline.data.tables.formats import READERS
from frostline.data.tables.rows import read_rows
from frostline.data.text.corpus import TextRules, read_file, read_root
from frostline.errors import UserError

COLUMNS = {"text_column": "text", "label_column": "label"}
GOOD = [(f"a good day {number}", "pos") for number in range(6)] + [
    (f"a bad one {number}", "neg") for number in range(6)
]


def told(path: Path, split: str | None = "split", skip: bool = False) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Read a table of texts; return (text, label, split) of each row, and the notes."""
    found = read_file(str(path), TextRules("text", "label", split, blank=False, skip=skip))
    pairs = [
        (text, label, name)
        for name, listing in found.splits.items()
        for text, label in zip(listing.content, listing.labels, strict=True)
    ]
    return pairs, found.notes


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        told(path, **options)
    assert str(path.name) in str(caught.value)
    return str(caught.value)


def parquet(path: Path, **columns: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    pq.write_table(pyarrow.table(columns), path)
    return path


MALFORMED = [
    ("t.csv", "text,label\na, b,pos\n", "line 2 of .* has 3 cells, and the header has 2; .* quotes around one that"),
    ("t.csv", 'label,text\npos, "a, b"x\n', "line 2 of .* begins with a quote and does not end with one"),
    ("t.csv", "text,label\nfine,pos\nshort\n", "line 3 of .* has 1 cells, and the header has 2"),
    ("t.csv", 'text,label\nsay "a,b"\n', "line 2 of .* has a quote in the middle of a cell"),
    ("t.csv", 'text,label\n5" disk,pos\n', "line 2 of .* has a quote in the middle of a cell"),
    ("t.csv", 'text,label\n"Great,pos\nb,neg\nlovely" film,pos\n', "line 2 of .* begins with a quote .*line 4"),
    ("t.csv", 'text,label\nb,neg\n"Great,pos\nb,neg\n', "line 3 of .* begins with a quote"),
    ("t.csv", "text,label,text\na,pos,b\n", "the header of .* has the column 'text' twice"),
    ("t.csv", "", "it has no header"),
    ("t.csv", "\n\n", "it has no header"),
    ("t.csv", "text,label\na\0b,pos\n", "is not a CSV file in UTF-8 .line 2 has a NUL byte"),
    ("t.tsv", "text\tlabel\na\tpos\tmore\n", "line 2 of .* has 3 cells, and the header has 2"),
    ("t.tsv", 'text\tlabel\n"Great\tpos\nb\tneg\nlovely" film\tpos\n', "line 2 of .* begins with a quote"),
    ("t.tsv", 'text\tlabel\n"Great\tpos\nb\tneg\nlovely"\tpos\n', "lines 2-4 of .* are one row by the quotes"),
    ("t.jsonl", '{"text": "a", "label": "b"}\n{"text": "a"}\n', "line 2 of .* has no column 'label'"),
    ("t.jsonl", '{"text": "a", "label": "b", "label": "c"}\n', "line 1 of .* is no JSON .'label' stands in it twice"),
    ("t.jsonl", '{"text": "a", "label": "b", "split": "train"}\n{"text": "a", "label": "b"}\n', "no column 'split'"),
    ("t.jsonl", '{"text": "a", "label": "b"}\n{"text": "a", "label": "b", "split": "test"}\n', "line 2 .* has 'split'"),
    ("t.jsonl", '{"text": "a", "label": ' + "1" * 5000 + "}\n", "line 1 of .* is no JSON"),
    ("t.jsonl", "[" * 200_000 + "\n", "line 1 of .* is no JSON"),
]


@pytest.mark.parametrize(("name", "content", "said"), MALFORMED)
def test_what_is_malformed_is_refused_by_its_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        told(path)
    with pytest.raises(UserError, match=said):
        told(path, skip=True)  # such a file is no data, whatever is to be left out


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl"])
def test_other_encodings_are_refused(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes("text,label\ngood,pos\n".encode(encoding))
    assert "in UTF-8" in refused(tmp_path / name)


def test_what_is_well_formed_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        '\ufefftext,"label",\n"a, ""b""",pos,0\n a "quoted" word ,  "neg",1\n\n  \n"two\nlines",pos,2\n',
        encoding="utf-8",
    )
    pairs, notes = told(path)
    assert pairs == [('a, "b"', "pos", "train"), ('a "quoted" word', "neg", "train"), ("two\nlines", "pos", "train")]
    assert notes == ["1 rows of t.csv go over several lines, in quotes: lines 6-7"]
    (tmp_path / "t.tsv").write_text('text\tlabel\n5" disk, "a\tpos\n"in ""quotes"""\tneg\n')
    assert told(tmp_path / "t.tsv")[0] == [('5" disk, "a', "pos", "train"), ('in "quotes"', "neg", "train")]


@pytest.mark.parametrize("value", [float("nan"), None, "", "  "])
def test_a_missing_value_is_no_class_and_no_text(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"text": text, "label": label} for text, label in GOOD]
    rows[1]["label"] = rows[4]["text"] = value  # type: ignore[assignment]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "2 rows cannot be used: t.jsonl:2 has no label; t.jsonl:5 has no text" in refused(path)
    pairs, notes = told(path, skip=True)
    assert {label for _, label, _ in pairs} == {"pos", "neg"} and len(pairs) == 10
    assert notes == ["left out 2 rows that cannot be used: t.jsonl:2 has no label; t.jsonl:5 has no text"]


def test_words_for_nothing_are_words_in_a_table_of_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\nnan,NA\nNone,null\n")
    assert told(tmp_path / "t.csv")[0] == [("nan", "NA", "train"), ("None", "null", "train")]


def test_a_column_of_numbers_with_gaps_has_the_classes_of_the_numbers(tmp_path: Path) -> None:
    """Such a column becomes one of floating point in pandas: 0 is 0.0 there, and a gap NaN."""
    labels = [float(number % 2) if number % 4 else math.nan for number in range(12)]
    path = parquet(tmp_path / "t.parquet", text=[text for text, _ in GOOD], label=labels)
    assert "3 rows cannot be used: t.parquet:1 has no label; t.parquet:5 has no label" in refused(path)
    pairs, notes = told(path, skip=True)
    assert [label for _, label, _ in pairs] == [str(number % 2) for number in range(12) if number % 4]
    assert notes[0].startswith("left out 3 rows")
    mixed = tmp_path / "t.jsonl"
    mixed.write_text("".join(f'{{"text": "a", "label": {label}}}\n' for label in ("1", "1.0", '"1"', "1.5", "true")))
    assert [label for _, label, _ in told(mixed)[0]] == ["1", "1", "1", "1.5", "True"]
    exact = parquet(tmp_path / "e.parquet", text=["a", "b"], label=[Decimal("1700000000.25"), None])
    assert [label for _, label, _ in told(exact, skip=True)[0]] == ["1700000000.25"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "t.jsonl",
            b'{"text": "a\\ud83d", "label": "x"}\n',
            "t.jsonl:1 has half a character .a lone surrogate. in text",
        ),
        ("t.jsonl", b'{"text": "a", "label": "\\udce9"}\n', "t.jsonl:1 has bytes that are not UTF-8 in label"),
        ("t.jsonl", b'{"text": "a\\u0000", "label": "x"}\n', "t.jsonl:1 has a NUL character in text"),
        ("t.csv", b"text,label\ncaf\xe9,x\n", "t.csv:2 has bytes that are not UTF-8 in text"),
        ("t.tsv", b"text\tlabel\na\tcaf\xe9\n", "t.tsv:2 has bytes that are not UTF-8 in label"),
    ],
)
def test_what_no_network_can_take_is_named_or_left_out(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    more = (
        b'{"text": "b", "label": "y"}\n' if name.endswith("jsonl") else b"b\ty\n" if name.endswith("tsv") else b"b,y\n"
    )
    path.write_bytes(content + more)
    with pytest.raises(UserError, match=said):
        told(path)
    pairs, notes = told(path, skip=True)
    assert pairs == [("b", "y", "train")] and notes[0].startswith("left out 1 rows")


def test_bytes_in_parquet_that_are_no_text_are_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    broken = pyarrow.array([b"fine", b"caf\xe9"]).view(pyarrow.string())
    path = parquet(tmp_path / "t.parquet", text=broken, label=["x", "y"])
    assert "t.parquet:2 has bytes that are not UTF-8 in text" in refused(path)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_column_of_splits_that_was_named_must_be_there(tmp_path: Path, name: str) -> None:
    path, rows = tmp_path / name, [(*pair, ("train", "test")[place % 2]) for place, pair in enumerate(GOOD)]
    heads = ("text", "label", "Split")
    if name == "t.parquet":
        parquet(path, **dict(zip(heads, map(list, zip(*rows, strict=True)), strict=True)))
    elif name == "t.jsonl":
        path.write_text("".join(json.dumps(dict(zip(heads, row, strict=True))) + "\n" for row in rows))
    else:
        path.write_text("\n".join(map(",".join, [heads, *rows])))
    with pytest.raises(UserError, match="data.split_column: .* has no column 'partition'; its columns are: .*Split"):
        told(path, split="partition")
    pairs, notes = told(path)
    assert sum(split == "test" for *_, split in pairs) == 6 and "the column 'Split'" in notes[0]
    assert {split for *_, split in told(path, split=None)[0]} == {"train"}


def test_splits_are_called_as_people_call_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label,split\na,x,Training\nb,y,dev\nc,x,VALIDATION\nd,y,Testing\n")
    assert [split for *_, split in told(path)[0]] == ["train", "val", "val", "test"]
    path.write_text("text,label,set,Fold\na,x,blue,1\nb,y,red,2\n")
    pairs, notes = told(path)
    assert {split for *_, split in pairs} == {"train"} and not notes, "columns that are merely called so"
    path.write_text("text,label,subset\na,x,train\nb,y,extra\n")
    assert "line 3" in refused(path) and "'extra'" in refused(path)
    path.write_text("text,label,split\na,x,train\nb,y,\n")
    assert "t.csv:3 has no split" in refused(path)
    assert len(told(path, skip=True)[0]) == 1


def test_tables_of_a_folder_are_called_as_people_call_splits(tmp_path: Path) -> None:
    for name in ("Training.csv", "dev.jsonl", "extra.csv"):
        row = '{"text": "a", "label": "x"}\n' if name.endswith("jsonl") else "text,label\na,x\n"
        (tmp_path / name).write_text(row)
    found = read_root(str(tmp_path), False, TextRules("text", "label", "split", False, False))
    assert set(found.splits) == {"train", "val"}
    assert found.notes == ["ignored 1 tables that are not named as a split: extra.csv"]
    with pytest.raises(UserError, match="data.split_column: 'part' is of no use with data.root"):
        read_root(str(tmp_path), False, TextRules("text", "label", "part", False, False))


def test_a_link_to_a_table_is_what_its_own_name_says(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "blob").write_text('{"text": "a", "label": "x"}\n')
    (tmp_path / "root" / "train.jsonl").symlink_to(tmp_path / "blob")
    found = read_root(str(tmp_path / "root"), True, TextRules("text", "label", "split", False, False))
    assert found.splits["train"].names == ["train.jsonl:1"]


def test_rows_of_a_manifest_are_left_out_as_those_of_texts(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_bytes(b"path,label\na.png,x\n,x\nb.png,\ncaf\xe9.png,y\nc.png,\xe9\n")
    columns = Columns("path", "label", "split")
    said = "3 rows cannot be used: m.csv:3 has no path; m.csv:4 has no label; m.csv:6 has bytes that are not UTF-8"
    with pytest.raises(UserError, match=said):
        read_manifest(str(file), None, columns, False)
    found = read_manifest(str(file), None, columns, False, skip=True)
    assert [os.fsencode(name) for name in found.splits["train"].names] == [b"a.png", b"caf\xe9.png"]
    assert found.notes[0].startswith("left out 3 rows")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet"])
def test_what_is_no_file_is_named_without_being_opened(tmp_path: Path, name: str) -> None:
    start = time.monotonic()
    os.mkfifo(tmp_path / name)
    assert "is a pipe, not a file; expected" in refused(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    assert "is a device, not a file" in refused(tmp_path / name)
    assert time.monotonic() - start < 5


HOSTILE = st.binary(max_size=40) | st.lists(
    st.sampled_from(
        [b"text", b"label", b"split", b",", b"\t", b'"', b"\n", b"\r", b" ", b"a", b"\0", b"\xe9", b"\xef\xbb\xbf"]
        + [b'{"text": ', b'"label": ', b"NaN", b"null", b"[", b"}", b"1e999", b"\\ud83d", b"train", b"test", b"PAR1"]
    ),
    max_size=30,
).map(b"".join)


@given(st.sampled_from([*READERS]), HOSTILE, st.booleans())
@settings(max_examples=300)
def test_a_hostile_table_is_read_or_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes, headed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"hostile{suffix}"
    comma = b"\t" if suffix == ".tsv" else b","
    path.write_bytes((b"text" + comma + b"label\n" if headed and suffix in (".csv", ".tsv") else b"") + content)
    try:
        for row in read_rows(path, "data.file", COLUMNS, "split"):
            if row.why_unusable(COLUMNS.values()) is None:
                for column in COLUMNS.values():
                    assert row.cell(column).encode() and "\0" not in row.cell(column)
    except UserError as error:
        assert path.name in str(error) or "data." in str(error)


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=2, max_size=2)
    )
)
@settings(max_examples=100)
def test_what_a_proper_writer_writes_is_read_as_it_was(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    import csv

    path = tmp_path_factory.getbasetemp() / "proper.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "label"], *rows])
    read = [[row.cell("text"), row.cell("label")] for row in read_rows(path, "data.file", COLUMNS)]
    assert read == [[cell.strip() for cell in row] for row in rows]
