"""A stranger's run folder: predict, export and report write where the user says, whatever its config names."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.serving.conftest import trained

from frostline.commands import main

LOGGER = {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "../victim"}
PLACES: dict[str, Any] = {
    "outputs": "../victim",
    "logger": LOGGER,
    "data.root": "../victim/data",
    "data.download": True,
    "data.token_cache": "../victim/tokens",
    "trainer.default_root_dir": "../victim",
    "launcher.setup": ["touch ../victim/setup"],
    "label": "${oc.env:CANARY}",
}
REFUSED: dict[str, Any] = {
    "trainer.logger": LOGGER,
    "trainer.callbacks": [{"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "dirpath": "../victim"}],
    "trainer.profiler": {"_target_": "pytorch_lightning.profilers.AdvancedProfiler", "dirpath": "../victim"},
    "head._target_": "frostline.data.speech.published.fetch",
    "backbone.options": {"x": LOGGER},
    "task.loss": LOGGER,
}


@pytest.fixture(scope="module")
def run(room: Path) -> Path:
    small = ["data=digits", "data.num_per_class=4", "data.size=32", "backbone=timm", "backbone.name=test_resnet"]
    return trained(room / "strangers", *small, "backbone.weights=none")


def changed(run: Path, folder: Path, changes: dict[str, Any]) -> Path:
    """Return a copy of a run whose record's config has these values."""
    shutil.copytree(run, folder)
    record = json.loads((folder / "record.json").read_text())
    for key, value in changes.items():
        node = record["config"]
        *path, last = key.split(".")
        for part in path:
            node = node[part]
        node[last] = value
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def listing(place: Path) -> dict[str, float]:
    return {str(path.relative_to(place)): path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path) -> Path:
    for name in ("work", "victim", "said"):
        (tmp_path / name).mkdir()
    shutil.copy(pictures / "test" / "a" / "0.jpg", tmp_path / "work" / "0.jpg")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CANARY", "hunter2-hunter2")
    return tmp_path


def test_nothing_is_written_but_where_the_user_says(run: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise 47."""
    folder = changed(run, place / "work" / "theirs", PLACES)
    before = listing(place)
    assert main(["predict", "theirs", "0.jpg", "--output", "../said/rows.csv"]) == 0
    assert main(["export", "theirs", "--format", "safetensors", "--output", "../said/model"]) == 0
    shown = capsys.readouterr()
    assert listing(place).keys() - before.keys() == {
        f"said/{path.relative_to(place / 'said')}" for path in (place / "said").rglob("*") if path.is_file()
    }
    assert {key: time for key, time in listing(place).items() if key in before} == before
    assert main(["report", str(folder), "--out", "../said/report"]) == 0
    new = listing(place).keys() - before.keys()
    assert all(path.startswith("said/") for path in new), new
    written = [path for path in (place / "said").rglob("*") if path.is_file()]
    assert len(written) > 3 and not [path for path in written if b"hunter2" in path.read_bytes()]
    assert "hunter2" not in shown.out + shown.err


@pytest.mark.parametrize("key", REFUSED)
def test_a_node_in_a_record_is_held_to_the_same_rules(
    run: Path, place: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(run, place / "work" / "theirs", {key: REFUSED[key]})
    before = listing(place)
    for words in (
        ["predict", "theirs", "0.jpg"],
        ["export", "theirs", "--format", "safetensors", "--output", "../said/model"],
    ):
        code = main(words)
        shown = capsys.readouterr()
        assert code == 2 and key.partition("._")[0] in shown.err and shown.err.count("\n") == 1, shown.err
    assert listing(place) == before
