"""Names of any bytes, of samples and classes: in every file that a run leaves, and in what is said of new samples."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.serving.conftest import trained

from frostline.commands import main
from frostline.files.atomic import NAMES
from frostline.files.csv_tables import read_csv
from frostline.report import read_comparison, write_report

LABELS = (b"=u\xe9\n\"p'", b"-down")
FILES = (b"caf\xe9.png", b" spaces .png", b"new\nline.png", b"tab\t.png", b"=1+1.png", b"'quote\".png", b"\xff\xfe.png")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of pictures whose names, and those of their classes, are what a file system allows."""
    root = tmp_path_factory.mktemp("names") / os.fsdecode(b"set\xe9")
    for split in ("train", "val", "test"):
        for place, label in enumerate(LABELS):
            folder = root / split / os.fsdecode(label)
            folder.mkdir(parents=True)
            for number, name in enumerate(FILES):
                made = np.random.default_rng([place, number, len(split)])
                pixels = made.integers(0, 128, (32, 32, 3), np.uint8) + np.uint8(100 * place)
                Image.fromarray(pixels).save(folder / os.fsdecode(name))
    return root


@pytest.fixture(scope="module")
def run(odd: Path) -> Path:
    network = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "data.size=32"]
    return trained(odd.parent / "outputs", "data=imagefolder", f"data.root='{odd}'", *network, "freeze=linear_probe")


def test_names_are_read_back_as_they_are_on_the_disk(run: Path, odd: Path) -> None:
    rows = list(read_csv(run / "predictions.csv"))
    for row in rows:
        assert (odd / row["sample"]).is_file()
        assert os.fsencode(row["label"]) in LABELS and os.fsencode(row["prediction"]) in LABELS
        assert {os.fsencode(column) for column in row if column.startswith("p(")} == {b"p(%b)" % one for one in LABELS}
    expected = {os.path.join(b"test", label, name) for label in LABELS for name in FILES}
    assert {os.fsencode(row["sample"]) for row in rows} == expected
    record = json.loads((run / "record.json").read_text("ascii"))
    assert {os.fsencode(label) for label in record["data"]["classes"]} == set(LABELS)
    assert record["config"]["data"]["root"] == str(odd)


def test_new_samples_have_the_same_names_in_every_format(
    run: Path, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {row["sample"]: row for row in read_csv(run / "predictions.csv")}
    table, lines = tmp_path / "out.csv", tmp_path / "out.jsonl"
    assert main(["predict", str(run), str(odd / "test"), "--output", str(table)]) == 0
    rows = list(read_csv(table))
    assert len(rows) == len(said)
    for row in rows:
        assert row["prediction"] == said[row["sample"].removeprefix(f"{odd}/")]["prediction"]
    assert main(["predict", str(run), str(odd / "test"), "--format", "jsonl", "--output", str(lines)]) == 0
    found = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [(one["sample"], one["prediction"]) for one in found] == [(row["sample"], row["prediction"]) for row in rows]
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="utf-8", write_through=True))
    assert main(["predict", str(run), str(odd / "test")]) == 0
    assert written.getvalue() == table.read_bytes()


def test_a_report_shows_names_and_its_table_holds_them(run: Path, tmp_path: Path) -> None:
    write_report(tmp_path, read_comparison([run]))
    for name in ("report.md", "report.html"):
        assert "udce9" in (tmp_path / name).read_text(encoding="utf-8"), "bytes are shown as escapes"
    assert [row["status"] for row in read_csv(tmp_path / "results.csv")] == ["done"]


def test_a_list_of_paths_may_hold_any_name(
    run: Path, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [odd / "test" / os.fsdecode(LABELS[1]) / os.fsdecode(name) for name in FILES if b"\n" not in name]
    (tmp_path / "list").write_bytes(b"".join(os.fsencode(name) + b"\n" for name in names))
    with (tmp_path / "list").open(encoding="utf-8") as file:  # strict, as standard input is
        monkeypatch.setattr("sys.stdin", file)
        assert main(["predict", str(run), "-", "--output", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", errors=NAMES):
        assert [row["sample"] for row in read_csv(tmp_path / "out.csv")] == [str(name) for name in names]
