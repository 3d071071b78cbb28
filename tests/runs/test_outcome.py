"""The record of a run: what a trial leaves out of it, and what would be too large."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.small_runs import run
from torch import Tensor

from frostline.errors import UserError
from frostline.runs import outcome
from frostline.runs.outcome import split_scores


def features(seed: int, samples: int, width: int) -> Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def broken_photos(root: Path) -> None:
    """Two classes; the test split has a picture that is cut off after its header."""
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        for label, shade in (("dark", 40), ("light", 200)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = features(100 * number + shade + len(split), 32, 32).abs() * 10 + shade
                Image.fromarray(pixels.byte().numpy()).save(folder / f"{number}.png")
    last = root / "test" / "dark" / "0.png"
    last.write_bytes(last.read_bytes()[:200])


@pytest.mark.parametrize("freeze", ["linear_probe", "last_k", "full"])
def test_a_trial_leaves_the_test_split_alone(tmp_path: Path, freeze: str) -> None:
    broken_photos(tmp_path / "photos")
    options = ["data=imagefolder", f"data.root={tmp_path / 'photos'}", f"freeze={freeze}", "data.num_per_class=null"]
    with pytest.raises(UserError, match="test/dark/0.png"):
        run(tmp_path / "outputs", *options)
    record, folder = run(tmp_path / "outputs", *options, "test=false")
    assert record["status"] == "done" and set(record["metrics"]) == {"train", "val"}
    assert [record[key] for key in ("confusion", "moved", "similarity", "mistakes")] == [[], {}, {}, []]
    assert not (folder / "predictions.csv").exists() and not (folder / "mistakes").exists()
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "cache").glob("*/manifest.json")]
    assert "test" not in {manifest["about"]["split"] for manifest in manifests}
    assert (freeze == "full") is (not manifests)
    assert record["cost"]["forward_flops"] > 0


def test_the_scores_of_a_record_are_those_of_its_best_epoch(tmp_path: Path) -> None:
    record, folder = run(tmp_path, "freeze=full", "epochs=3", "monitor=loss")
    history = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    rows = [dict(zip(history[0], row, strict=True)) for row in history[1:]]
    best = min(rows, key=lambda row: float(row["val/loss"]))
    assert record["best_epoch"] == int(best["epoch"]) and record["epochs"] == 3
    for split in ("train", "val"):
        written = {name: float(value) for name, value in split_scores(best, split).items()}
        assert record["metrics"][split] == pytest.approx(written)


def test_a_confusion_matrix_of_very_many_classes_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "MOST_CLASSES", 9)
    record, _ = run(tmp_path, "freeze=linear_probe")
    assert record["confusion"] == [] and len(record["data"]["classes"]) == 10
    assert "The confusion matrix of 10 classes is left out; predictions.csv has it all." in record["notes"]
