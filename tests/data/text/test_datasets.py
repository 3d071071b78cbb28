"""Texts from tables and from the datasets library: what is read, how it is divided, tokenised, kept and served."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.configs import make
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from frostline.data.base import DataModule
from frostline.data.inputs import Pixels, Ragged
from frostline.data.text.datasets import TextCSV
from frostline.data.text.tokens import Tokens
from frostline.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "book", "very"]


def tokens(size: int = 8, special: bool = True) -> Tokens:
    """A tokenizer of nine words, which puts [CLS] (2) before a text and [SEP] (3) behind it."""
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    if special:
        ends = [("[CLS]", 2), ("[SEP]", 3)]
        made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)  # type: ignore
    made.enable_padding(length=100)  # as files of tokenizers often say; padding is the batch's business
    return Tokens(size, made.to_str())


def rows(count: int = 10) -> list[tuple[str, str]]:
    """Texts of two classes, of 1 to 4 words."""
    return [(f"very {label} {'film ' * (index % 3)}book", label) for index in range(count) for label in ("good", "bad")]


def table(file: Path, lines: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")) -> str:
    if file.suffix == ".jsonl":
        file.write_text("\n".join(json.dumps(dict(zip(header, line, strict=True))) for line in lines))
    elif file.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        columns = {name: [line[place] for line in lines] for place, name in enumerate(header)}
        parquet.write_table(pyarrow.table(columns), file)
    else:
        joint = "\t" if file.suffix == ".tsv" else ","
        file.write_text("\n".join(joint.join(line) for line in [header, *lines]) + "\n", encoding="utf-8-sig")
    return str(file)


def text(file: str, **options: Any) -> TextCSV:
    return make("data/text_csv", file=file, **{"preprocess": tokens(), "token_cache": None} | options)


def batch(data: DataModule, split: str, *indices: int) -> Ragged:
    found = data.splits[split].inputs(torch.tensor(indices), 0)
    assert isinstance(found, Ragged)
    return found


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_of_any_kind_is_the_same_data(tmp_path: Path, ending: str) -> None:
    data = text(table(tmp_path / f"reviews{ending}", rows()))
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [12, 4, 4]
    assert data.classes == ["bad", "good"] and "drew val and test from train" in data.notes[0]
    reference = text(table(tmp_path / "reference.csv", rows()))
    for name in ("train", "val", "test"):
        every = torch.arange(len(data.splits[name]))
        mine, theirs = (each.splits[name].inputs(every, 0) for each in (data, reference))
        assert torch.equal(mine.values, theirs.values) and torch.equal(mine.lengths, theirs.lengths)  # type: ignore
        assert torch.equal(data.splits[name].labels, reference.splits[name].labels)


def test_a_batch_is_padded_and_knows_its_lengths(tmp_path: Path) -> None:
    lines = [("good film", "a"), ("very very bad book", "b"), ("other film", "a")]
    lines = [(*line, split) for split in ("train", "val", "test") for line in lines]
    data = text(table(tmp_path / "t.csv", lines, ("text", "label", "split")))
    found = batch(data, "train", 1, 0, 2)
    assert found.values.tolist() == [[2, 8, 8, 5, 7, 3], [2, 4, 6, 3, 0, 0], [2, 1, 6, 3, 0, 0]]
    assert found.lengths.tolist() == [6, 4, 4] and found.values.dtype == torch.int64
    assert data.splits["train"].labels.tolist() == [0, 1, 0] and data.splits["train"].names[2] == "t.csv:4"
    lengths = data.splits["train"].lengths
    assert lengths is not None and lengths.tolist() == [4, 6, 4] and data.typical == 5


def test_a_folder_has_a_table_for_each_split(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", rows(4))
    table(tmp_path / "test.jsonl", rows(2))
    (tmp_path / "README.md").write_text("about")
    data = make("data/text_csv", root=str(tmp_path), preprocess=tokens(), token_cache=None)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [6, 2, 4]
    table(tmp_path / "test.csv", rows(2))
    with pytest.raises(UserError, match="data.root: .* holds test.csv and test.jsonl; a split is one table"):
        make("data/text_csv", root=str(tmp_path), preprocess=tokens(), token_cache=None)


def test_long_texts_are_cut_before_their_last_special_token_and_counted(tmp_path: Path) -> None:
    lines = [("bad film", "a", "train"), ("very good film", "b", "train"), ("good " * 50, "b", "train")]
    lines += [("bad", "a", "val"), ("very very very bad", "a", "val"), ("book", "a", "test")]
    data = text(table(tmp_path / "t.csv", lines, ("text", "label", "split")), preprocess=tokens(5))
    assert batch(data, "train", 0, 1, 2).values.tolist() == [[2, 5, 6, 3, 0], [2, 8, 4, 6, 3], [2, 4, 4, 4, 3]]
    assert batch(data, "val", 1).values.tolist() == [[2, 8, 8, 8, 3]]
    assert "longer than data.tokens=5 and cut: 1 of 3 texts of train, 1 of 2 texts of val" in data.notes


def test_a_text_that_just_fits_is_not_counted(tmp_path: Path) -> None:
    data = text(table(tmp_path / "t.csv", [("good film", "a"), ("bad book", "b")] * 5), preprocess=tokens(4))
    assert not any("longer" in note for note in data.notes)


def test_equal_texts_are_noted(tmp_path: Path) -> None:
    lines = [(f"{line} {place}", label, "train") for place, (line, label) in enumerate(rows())]
    lines += [(*lines[0][:2], "val"), (*lines[1][:2], "val"), ("new", "good", "test"), ("newer", "bad", "test")]
    data = text(table(tmp_path / "t.csv", lines, ("text", "label", "split")))
    assert data.notes == ["2 samples have the same contents as another one", *data.notes[1:]]
    assert "2 samples of val have the same contents as one of train" in data.notes


def test_a_subset_is_drawn_by_class_and_seed(tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv", rows(20))
    small, large = text(file, num_per_class=2), text(file, num_per_class=5)
    assert len(small.splits["train"]) == 4 and set(small.splits["train"].names) < set(large.splits["train"].names)
    assert small.splits["test"].fingerprint == large.splits["test"].fingerprint


def test_bad_rows_are_named_or_left_out(tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv", [*rows(), ("  ", "good"), ("fine", "")])
    with pytest.raises(UserError, match="2 rows cannot be used: t.csv:22 has no text; t.csv:23 has no label"):
        text(file)
    data = text(file, on_bad="skip")
    assert sum(map(len, data.splits.values())) == 20  # type: ignore[arg-type]
    assert data.notes[0].startswith("left out 2 rows")


WRONG = [
    ("t.csv", [("good", "a")], ("words", "label"), "data.text_column: .* no column 'text'; its columns are: words"),
    ("t.jsonl", [("good", "a")], ("text", "kind"), "data.label_column: line 1 of .* has no column 'label'"),
    ("t.csv", [("good", "a")] * 9, ("text", "label"), "only the class 'a'"),
    ("t.csv", [], ("text", "label"), "holds no texts"),
    ("t.csv", [("good", "a", "other")], ("text", "label", "split"), "line 2 of .* has split 'other'"),
    ("t.csv", [("good", "a", "val")], ("text", "label", "split"), "no row whose split is train"),
    ("t.jsonl", [(["good"], "a")], ("text", "label"), "line 1 of .* has a list in text; it takes text or a number"),
]


@pytest.mark.parametrize(("name", "lines", "header", "said"), WRONG)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, lines: list, header: Sequence[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        text(table(tmp_path / name, lines, header))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"text,label\n\xff\xfe,a\n", "t.csv:2 has bytes that are not UTF-8 in text"),
        ("t.jsonl", b'{"text": "a", "label": "b"}\n{"text"\n', "data.file: line 2 of .* is no JSON"),
        ("t.jsonl", b"[1]\n", "data.file: line 1 of .* is a list in JSON; each line must be an object"),
        ("t.parquet", b"PAR1 not at all", "data.file: .* is not a Parquet file"),
    ],
)
def test_a_file_that_is_something_else_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        text(str(tmp_path / name))


def test_a_text_without_any_token_is_named(tmp_path: Path) -> None:
    mute = Tokenizer.from_str(tokens(special=False).tokenizer)
    mute.normalizer = normalizers.Replace("film", "")  # type: ignore[assignment]
    file = table(tmp_path / "t.csv", [("good film", "a"), ("film", "b")] * 5)
    with pytest.raises(UserError, match="t.csv:3 has no tokens; 3 texts are like that"):
        text(file, preprocess=Tokens(8, mute.to_str()))


def test_wrong_options_are_named(tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv", rows())
    with pytest.raises(UserError, match="data.file: .*none.csv cannot be read"):
        text(str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match="data.file and data.root: set one of them"):
        make("data/text_csv", file=file, root=str(tmp_path), preprocess=tokens())
    with pytest.raises(UserError, match="data.on_bad: 'drop' is not known"):
        text(file, on_bad="drop")
    with pytest.raises(UserError, match="data.size: there is no such key"):
        text(file, size=32)
    with pytest.raises(UserError, match="data.tokens: 2 is too small; with 2 special tokens it is at least 3"):
        tokens(2)
    with pytest.raises(UserError, match="data=text_csv: this is text .*takes image; .*adapter=rendering"):
        text(file, preprocess=Pixels(32, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic"))
