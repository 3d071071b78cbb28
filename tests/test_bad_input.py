"""Bad input, as the worker meets it: each is recorded as the user's mistake, in one sentence that names key or file."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frostline.config.compose import compose, resolve
from frostline.launchers.worker import attempt
from frostline.results.record import Record

SMALL = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "data.size=32", "epochs=2"]


def record(tmp_path: Path, *overrides: str) -> Record:
    config = resolve(compose("run", [*SMALL, f"outputs={tmp_path}/outputs", "trainer.accelerator=cpu", *overrides]))
    folder = tmp_path / "outputs" / "runs" / "x"
    folder.mkdir(parents=True, exist_ok=True)
    return attempt(config, folder)


def photos(tmp_path: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 10) -> Path:
    root = tmp_path / "photos"
    random = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8)).save(root / name / f"{number}.png")
    return root


def refused(tmp_path: Path, *overrides: str) -> str:
    found = record(tmp_path, *overrides)
    assert found.status == "failed" and found.user_error and found.reason is not None
    assert not (tmp_path / "outputs" / "runs" / "x" / "metrics.csv").exists(), "it was found before training"
    return found.reason


def test_a_sound_folder_trains(tmp_path: Path) -> None:
    """The others below fail for their own reason only."""
    assert record(tmp_path, "data=imagefolder", f"data.root={photos(tmp_path)}").status == "done"


def test_a_missing_folder(tmp_path: Path) -> None:
    assert "data.root" in refused(tmp_path, "data=imagefolder", "data.root=/nowhere")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert "data.root" in refused(tmp_path, "data=imagefolder", f"data.root={tmp_path}/photos")


def test_a_folder_with_one_class(tmp_path: Path) -> None:
    reason = refused(tmp_path, "data=imagefolder", f"data.root={photos(tmp_path, ('cat',))}")
    assert "class" in reason and "cat" in reason


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", None], ids=["0 bytes", "HTML", "half an image"])
def test_an_unreadable_image(tmp_path: Path, content: bytes | None) -> None:
    root = photos(tmp_path)
    bad = root / "cat" / "3.png"
    bad.write_bytes(bad.read_bytes()[:300] if content is None else content)
    reason = refused(tmp_path, "data=imagefolder", f"data.root={root}")
    assert "1 " in reason and "3.png" in reason and "data.on_bad=skip" in reason
    skipped = record(tmp_path, "data=imagefolder", f"data.root={root}", "data.on_bad=skip", "freeze=linear_probe")
    assert skipped.status == "done" and sum(skipped.data["counts"].values()) == 19
    assert any("3.png" in note for note in skipped.notes)


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    root = photos(tmp_path)
    secret = tmp_path / "secret.png"
    (root / "cat" / "0.png").rename(secret)
    (root / "cat" / "0.png").symlink_to(secret)
    assert "data.symlinks" in refused(tmp_path, "data=imagefolder", f"data.root={root}")


def test_a_manifest_without_its_column(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,label\na.png,cat\n")
    reason = refused(tmp_path, "data=csv", f"data.manifest={tmp_path}/list.csv")
    assert "path" in reason and "file, label" in reason


def test_a_plan_whose_pattern_matches_nothing(tmp_path: Path) -> None:
    reason = refused(tmp_path, "freeze=surgical", "freeze.train=[blok1]")
    assert "freeze.train: 'blok1'" in reason and "stage1" in reason


def test_more_groups_than_there_are(tmp_path: Path) -> None:
    assert "freeze.k: 99" in refused(tmp_path, "freeze=last_k", "freeze.k=99")


def test_a_kind_that_the_network_lacks(tmp_path: Path) -> None:
    """Every bias of ResNet-10 belongs to a BatchNorm, so take the network without those."""
    reason = refused(tmp_path, "backbone.name=test_nfnet", "freeze=norm_only")
    assert "normalisation" in reason and "none" in reason


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.canary),)


def test_a_weights_file_with_a_pickle_in_it(tmp_path: Path) -> None:
    """Promise 21."""
    path = tmp_path / "weights.pth"
    torch.save({"weight": Evil(tmp_path / "canary")}, path)
    assert "backbone.weights" in refused(tmp_path, f"backbone.weights={path}")
    path.write_bytes(pickle.dumps(Evil(tmp_path / "canary")))
    assert "backbone.weights" in refused(tmp_path, f"backbone.weights={path}")
    assert not (tmp_path / "canary").exists()


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"other.weight": torch.zeros(3)}, path)
    reason = refused(tmp_path, f"backbone.weights={path}")
    assert "missing" in reason and "other.weight" in reason


def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    assert record(tmp_path, "freeze=full").status == "done"
    found = record(tmp_path, "freeze=full", "backbone.name=test_vit")
    assert found.user_error and "checkpoint" in str(found.reason) and "force=true" in str(found.reason)


def test_an_accident_is_no_mistake_and_keeps_its_traceback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "outputs" / "runs" / "x"
    folder.mkdir(parents=True)
    (folder / "checkpoints").write_text("a file where a folder belongs")
    found = record(tmp_path, "freeze=full")
    assert found.status == "failed" and not found.user_error and "NotADirectoryError" in str(found.reason)
    assert any(entry.exc_info for entry in caplog.records)
