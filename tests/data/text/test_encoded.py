"""Encoded texts: kept in a file from run to run, whole or not at all; and as something else than tokens."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.configs import make
from torch import Tensor

from frostline.data.text import encoded
from frostline.data.text.characters import Characters
from frostline.data.text.encoded import Encoded, encode
from frostline.data.text.rendering import Rendered
from frostline.errors import UserError

TEXTS = ["one", "to", "three hundred"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts were encoded in each call; every amount of text is worth a file."""
    made: list[int] = []
    own = Characters.encode

    def counted(self: Characters, texts: Sequence[str]) -> list[Tensor]:
        made.append(len(texts))
        return own(self, texts)

    monkeypatch.setattr(Characters, "encode", counted)
    monkeypatch.setattr(encoded, "WORTHWHILE", 0)
    return made


def same(one: Encoded, other: Encoded) -> bool:
    return torch.equal(one.values, other.values) and torch.equal(one.lengths, other.lengths) and one.cut == other.cut


def test_texts_are_encoded_once(tmp_path: Path, calls: list[int]) -> None:
    first = encode(Characters(5), TEXTS, "a", tmp_path)
    assert first.lengths.tolist() == [3, 2, 5] and first.cut == 1 and calls == [3, 1]
    assert same(first, encode(Characters(5), TEXTS, "a", tmp_path)) and calls == [3, 1]
    assert first.take(torch.tensor([2, 1])).values.tolist() == [list(b"three"), [*b"to", 0, 0, 0]]


def test_other_texts_or_another_encoding_are_other_files(tmp_path: Path, calls: list[int]) -> None:
    encode(Characters(50), TEXTS, "a", tmp_path)
    assert encode(Characters(50), ["other"], "b", tmp_path).lengths.tolist() == [5]
    assert encode(Characters(4), TEXTS, "a", tmp_path).lengths.tolist() == [3, 2, 4]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: content[::-1]])
def test_a_damaged_file_is_made_anew(tmp_path: Path, calls: list[int], damage: object) -> None:
    first = encode(Characters(5), TEXTS, "a", tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))  # type: ignore[operator]
    assert same(first, encode(Characters(5), TEXTS, "a", tmp_path)) and len(calls) == 4
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, calls: list[int]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="data.token_cache: .* cannot be written .* give another folder, or null"):
        encode(Characters(5), TEXTS, "a", tmp_path / "file")


def test_little_text_leaves_no_file(tmp_path: Path) -> None:
    encode(Characters(5), TEXTS, "a", tmp_path)
    assert not list(tmp_path.iterdir())


def table(folder: Path) -> str:
    lines = [f"{word} {number},{word}" for number in range(6) for word in ("cat", "dog")]
    (folder / "t.csv").write_text("\n".join(["text,label", *lines]))
    return str(folder / "t.csv")


@pytest.mark.parametrize("memory_gb", [2.0, 0.0])
def test_texts_can_be_pictures(tmp_path: Path, memory_gb: float) -> None:
    look = Rendered(size=48, font=12)
    data = make("data/text_csv", file=table(tmp_path), preprocess=look, memory_gb=memory_gb)
    train = data.splits["train"]
    found = train.inputs(torch.tensor([3, 0]), 0)
    assert isinstance(found, Tensor) and found.shape == (2, 3, 48, 48) and found.dtype == torch.uint8
    texts = [line.split(",")[0] for line in (tmp_path / "t.csv").read_text().splitlines()]
    lines = [int(train.names[place].split(":")[1]) - 1 for place in (3, 0)]
    assert torch.equal(found, look.encode([texts[line] for line in lines]))
    assert train.costly == (memory_gb == 0) and train.lengths is None and data.typical == 48


def test_a_text_can_be_looked_at(tmp_path: Path) -> None:
    content = make("data/text_csv", file=table(tmp_path), preprocess=Characters(20)).preview("test", 0)
    assert content is not None
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG" and picture.convert("L").getextrema() != (255, 255)
