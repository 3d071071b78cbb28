"""Tables that people report trouble with, as a run meets them: refused by file and line, or read to the last digit."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import Program

from frostline.config.compose import compose, resolve
from frostline.files.csv_tables import read_csv
from frostline.launchers.worker import attempt
from frostline.results.record import Record
from frostline.results.store import run_folder, run_id

NETWORK = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "epochs=1", "freeze=linear_probe"]
TEXT = ["data=text_csv", "adapter=rendering", "adapter.size=32", "adapter.font=8", *NETWORK]
PAIRS = [(f"a good day number {n}", "pos") for n in range(12)] + [
    (f"an awful night number {n}", "neg") for n in range(12)
]


def record(tmp_path: Path, *overrides: str) -> tuple[Record, Path]:
    config = resolve(compose("run", [*overrides, "trainer.accelerator=cpu", f"outputs={tmp_path}/outputs"]))
    folder = run_folder(tmp_path / "outputs", run_id(config))
    folder.mkdir(parents=True)
    return attempt(config, folder), folder


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def with_nan() -> str:
    return json_lines([{"text": t, "label": math.nan if n % 9 == 0 else y} for n, (t, y) in enumerate(PAIRS)])


def with_surrogate() -> str:
    return json_lines([{"text": t + "\ud83d" * (n == 3), "label": y} for n, (t, y) in enumerate(PAIRS)])


LINES = [f"{text}\t{label}" for text, label in PAIRS]
STRAY = "\n".join(["text\tlabel", '"Great cast\tpos', *LINES[:9], 'lovely" film\tpos', *LINES[9:]])
UNQUOTED = "\n".join(["label,text", *(f"{label},{text}, simply said" for text, label in PAIRS)])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("stray_quote.tsv", STRAY, "line 2 of"),
        ("unquoted.csv", UNQUOTED, "line 2 of"),
        ("nan.jsonl", with_nan(), "nan.jsonl:1 has no label; nan.jsonl:10 has no label"),
        ("surrogate.jsonl", with_surrogate(), "surrogate.jsonl:4 has half a character"),
    ],
)
def test_a_malformed_table_is_named_before_training(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    found, folder = record(tmp_path, *TEXT, f"data.file={tmp_path / name}")
    assert found.status == "failed" and found.user_error and found.reason is not None
    assert said in found.reason and name in found.reason and "\n" not in found.reason
    assert not (folder / "metrics.csv").exists()


def test_what_lacks_something_is_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(with_nan() + with_surrogate())
    found, _ = record(tmp_path, *TEXT, f"data.file={tmp_path / 't.jsonl'}", "data.on_bad=skip")
    assert found.status == "done" and found.data["classes"] == ["neg", "pos"]
    assert found.notes[0].startswith("left out 4 rows that cannot be used: t.jsonl:1 has no label")


@pytest.fixture
def numbers(tmp_path: Path) -> list[str]:
    """Pictures and a manifest of large numbers that differ by 1, with a column of splits by another name."""
    lines = ["path,label,Split"]
    for place in range(20):
        pixels = np.random.default_rng(place).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{place}.png")
        lines.append(
            f"{place}.png,{1_700_000_000 + place},{('train', 'train', 'Training', 'valid', 'TEST')[place % 5]}"
        )
    (tmp_path / "m.csv").write_text("\n".join(lines))
    return ["data=csv", f"data.manifest={tmp_path / 'm.csv'}", "data.size=32", "task=regression", *NETWORK]


def test_large_numbers_stay_apart_to_the_last_digit(tmp_path: Path, numbers: list[str]) -> None:
    found, folder = record(tmp_path, *numbers)
    assert found.status == "done", found.reason
    assert found.data["counts"] == {"train": 12, "val": 4, "test": 4}
    rows = list(read_csv(folder / "predictions.csv"))
    assert [row["label"] for row in rows] == ["1700000004", "1700000009", "1700000014", "1700000019"]
    errors = [float(row["prediction"]) - float(row["label"]) for row in rows]
    rmse = math.sqrt(sum(error**2 for error in errors) / 4)
    assert 0.1 < rmse < 100 and found.metrics["test"]["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert found.task["mean"] == pytest.approx(1_700_000_008.5, abs=1) and 4 < found.task["deviation"] < 8
    assert any("the column 'Split'" in note for note in found.notes)


def test_a_column_of_splits_that_was_named_must_be_there(tmp_path: Path, numbers: list[str]) -> None:
    found, _ = record(tmp_path, *numbers, "data.split_column=partition")
    assert found.user_error and "data.split_column: " in str(found.reason) and "Split" in str(found.reason)


@pytest.mark.slow  # a process that imports torch
def test_the_command_says_it_in_one_line(tmp_path: Path, frostline: Program) -> None:
    (tmp_path / "t.csv").write_text(UNQUOTED)
    done = frostline("run", *TEXT, "data.file=t.csv", "outputs=out", "trainer.accelerator=cpu")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "line 2 of t.csv has 3 cells, and the header has 2" in done.stderr
