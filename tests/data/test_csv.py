"""Images named by a manifest."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tests.configs import make

from frostline.data.inputs import Pixels
from frostline.errors import UserError


def manifest(root: Path, rows: Sequence[str], header: str = "path,label,split") -> str:
    file = root / "labels.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return str(file)


def rows(photos: Path, splits: bool = True) -> list[str]:
    files = sorted(photos.rglob("*.png"))
    names = [file.relative_to(photos) for file in files]
    return [f"{name},{name.parts[1]}" + (f",{name.parts[0]}" if splits else "") for name in names]


def test_a_manifest_names_path_label_and_split(photos: Path, preprocess: Pixels) -> None:
    data = make("data/csv", manifest=manifest(photos, rows(photos)), preprocess=preprocess)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [12, 8, 8]
    assert data.classes == ["cat", "dog"] and data.splits["val"].names[0] == "val/cat/0.png"
    assert not [note for note in data.notes if "data.fit" not in note]
    assert data.splits["test"].inputs(torch.arange(8), 0).shape == (8, 3, 32, 32)


def test_without_splits_they_are_drawn(photos: Path, preprocess: Pixels) -> None:
    lines = [
        line.replace("cat", "10", 2).replace("/10/", "/cat/").replace(",dog", ",9") for line in rows(photos, False)
    ]
    file = manifest(photos, lines, "file,kind")
    data = make("data/csv", manifest=file, path_column="file", label_column="kind", preprocess=preprocess)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [16, 6, 6]
    assert data.classes == ["9", "10"] and "drew val and test" in data.notes[0]


def test_a_root_elsewhere(photos: Path, preprocess: Pixels, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = manifest(tmp_path_factory.mktemp("lists"), rows(photos))
    assert len(make("data/csv", manifest=file, root=str(photos), preprocess=preprocess).splits["train"]) == 12
    with pytest.raises(UserError, match="28 images cannot be used: train/cat/0.png does not exist"):
        make("data/csv", manifest=file, preprocess=preprocess)


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("file,label,split", None, "data.path_column: .* has no column 'path'; its columns are: file, label, split"),
        ("path,kind,split", None, "data.label_column: .* has no column 'label'"),
        ("path,label,split", "a.png,,train", "1 rows cannot be used: labels.csv:2 has no label.*data.on_bad=skip"),
        ("path,label,split", ",cat,train", "labels.csv:2 has no path"),
        ("path,label,split", "a.png,cat,", "labels.csv:2 has no split"),
        ("path,label,split", "a.png", "line 2 of .* has 1 cells, and the header has 3"),
        ("path,label,split", "a.png,cat,other", "line 2 of .* has split 'other'; it is one of: train, val, test"),
        ("path,label,split", "val/cat/0.png,wolf,test", "has wolf in test, of which train has no samples"),
        ("path,label,split", "val/cat/0.png,cat,train", "1 files in two splits"),
        ("path,label,split", "../a.png,cat,train", "leads out of .*data.symlinks=true"),
        ("path,label,split", "/etc/passwd,cat,train", "leads out of .*data.symlinks=true"),
    ],
)
def test_what_is_wrong_is_named(photos: Path, preprocess: Pixels, header: str, row: str | None, said: str) -> None:
    lines = rows(photos) if row is None else [row, *rows(photos)]
    with pytest.raises(UserError, match=said):
        make("data/csv", manifest=manifest(photos, lines, header), preprocess=preprocess)


def test_a_manifest_that_cannot_be_read_is_named(photos: Path, preprocess: Pixels) -> None:
    with pytest.raises(UserError, match="data.manifest is not set"):
        make("data/csv", manifest=None, preprocess=preprocess)
    with pytest.raises(UserError, match="data.manifest: .*none.csv cannot be read"):
        make("data/csv", manifest=str(photos / "none.csv"), preprocess=preprocess)
    with pytest.raises(UserError, match="data.manifest: .* is not a CSV file in UTF-8"):
        make("data/csv", manifest=str(photos / "train/cat/0.png"), preprocess=preprocess)
    with pytest.raises(UserError, match="lists no images"):
        make("data/csv", manifest=manifest(photos, []), preprocess=preprocess)
    with pytest.raises(UserError, match="no row whose split is train"):
        make("data/csv", manifest=manifest(photos, ["val/cat/0.png,cat,val"]), preprocess=preprocess)
