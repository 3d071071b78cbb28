"""What a run says of its data, and what its ID sees of them, as a user meets it on the command line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SMALL = (
    *("backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "trainer.accelerator=cpu"),
    *("data.size=32", "freeze=linear_probe", "augment=none", "trainer.enable_progress_bar=false"),
)


def pictures(folder: Path, light: bool, count: int = 6) -> None:
    folder.mkdir(parents=True)
    made = np.random.default_rng(light)
    for number in range(count):
        pixels = made.integers(0, 120, (24, 24, 3), np.uint8) + (130 if light else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


def test_what_a_folder_is_taken_for_is_said_and_recorded(frostline, tmp_path: Path) -> None:
    for split in ("Training", "Testing"):
        for label in ("dark", "light"):
            pictures(tmp_path / split / label, label == "light")
    ended = frostline("run", "data=imagefolder", "data.root=.", *SMALL)  # where the program writes its outputs as well
    assert ended.returncode == 0, ended.stderr
    told = " ".join(ended.stderr.split())
    assert "data: 10/2/12 samples (train/val/test) of 2 classes: dark 5/1/6; light 5/1/6" in told
    assert "took Training as train; Testing as test" in told
    assert "random weights" in told and "pretrained weights" not in told
    assert "left out outputs: it is this program's own output" in told
    record = json.loads((tmp_path / ended.stdout.splitlines()[-1]).read_text())
    assert record["data"]["classes"] == ["dark", "light"] and record["data"]["counts"]["test"] == 12
    assert record["data"]["class_counts"]["train"] == {"dark": 5, "light": 5}
    assert re.fullmatch("[0-9a-f]{64}", record["data"]["content"])
    again = frostline("run", "data=imagefolder", "data.root=.", *SMALL)
    assert again.stdout == ended.stdout, "its own output changes nothing"
    report = frostline("report", "outputs/runs", "--out", "report")
    assert report.returncode == 0 and record["data"]["content"][:12] in (tmp_path / "report/report.md").read_text()


@pytest.mark.slow
def test_data_behind_links_are_other_runs(frostline, tmp_path: Path) -> None:
    for label in ("dark", "light"):
        pictures(tmp_path / "stock" / label, label == "light")
    ids = []
    for name, swap in (("one", False), ("two", True)):
        (tmp_path / name).mkdir()
        for label, other in (("dark", "light"), ("light", "dark")):
            (tmp_path / name / label).symlink_to(tmp_path / "stock" / (other if swap else label))
        ended = frostline("run", "data=imagefolder", f"data.root={name}", "data.symlinks=true", *SMALL)
        assert ended.returncode == 0, ended.stderr
        ids.append(ended.stdout)
    assert ids[0] != ids[1]
    (tmp_path / "stock/dark/0.png").unlink()
    changed = frostline("run", "data=imagefolder", "data.root=one", "data.symlinks=true", *SMALL)
    assert changed.returncode == 0 and changed.stdout not in ids
