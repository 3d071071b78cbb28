"""Sets of the datasets library, from a folder they were saved in."""

from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from tests.configs import make

from frostline.data.text.characters import Characters
from frostline.data.text.datasets import HubText
from frostline.errors import UserError


def saved(folder: Path, splits: tuple[str, ...] = ("train", "validation", "test"), **columns: list) -> str:
    kinds = datasets.ClassLabel(names=["worse", "better"])  # not in the order of the alphabet
    features = datasets.Features({"text": datasets.Value("string"), "label": kinds, "id": datasets.Value("int64")})
    content = {
        "text": [f"text {number}" for number in range(12)],
        "label": [number % 2 for number in range(12)],
        "id": list(range(12)),
    } | columns
    one = datasets.Dataset.from_dict(content, features)
    made = datasets.DatasetDict(dict.fromkeys(splits, one)) if splits else one
    made.save_to_disk(str(folder / "set"))
    return str(folder / "set")


def hub(path: str, **options: Any) -> HubText:
    return make("data/hf_text", path=path, **{"preprocess": Characters(20), "token_cache": None} | options)


def test_a_saved_set_keeps_its_classes_and_splits(tmp_path: Path) -> None:
    data = hub(saved(tmp_path))
    assert data.classes == ["worse", "better"] and [len(data.splits[name]) for name in data.splits] == [12, 12, 12]
    assert data.splits["val"].labels.tolist() == [0, 1] * 6 and data.splits["val"].names[3] == "validation/3"
    found = data.splits["test"].inputs(torch.tensor([0]), 0)
    assert bytes(found.values[0].tolist()) == b"text 0"  # type: ignore[union-attr]


def test_splits_that_are_missing_are_drawn(tmp_path: Path) -> None:
    data = hub(saved(tmp_path, ()))
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [8, 2, 2]
    assert data.classes == ["worse", "better"]


def test_splits_that_are_not_used_are_said(tmp_path: Path) -> None:
    data = hub(saved(tmp_path, ("train", "Validation", "dev", "test", "unsupervised")))
    assert data.splits["val"].names[0] == "Validation/0"
    assert "left out the splits that are not used: dev; unsupervised" in data.notes


def test_hidden_labels_are_no_class(tmp_path: Path) -> None:
    path = saved(tmp_path, label=[-1, *[1, 0] * 5, -1])
    with pytest.raises(UserError, match="6 rows cannot be used: train/0 has no label"):
        hub(path)
    assert len(hub(path, on_bad="skip").splits["train"]) == 10


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(UserError, match="data.val_split: .* has no 'dev'; its splits are: train, validation, test"):
        hub(path, val_split="dev")
    with pytest.raises(UserError, match="data.text_column: .* has no column 'sentence'; its columns are: text, label"):
        hub(path, text_column="sentence")
    with pytest.raises(UserError, match="data.path: .*nothing cannot be loaded"):
        hub(str(tmp_path / "nothing"))
