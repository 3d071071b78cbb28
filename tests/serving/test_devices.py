"""A run that was made on another kind of device than is here."""

import json
import shutil
from pathlib import Path

import pytest
from tests.finished_runs import rows

from frostline.commands import main


def test_a_processor_stands_in_for_a_gpu_with_more_digits(
    image_run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run in 16-mixed, which Lightning would compute in bfloat16 on a processor."""
    monkeypatch.setattr("frostline.serving.restored.find_accelerator", lambda: "cpu")
    run = shutil.copytree(image_run, tmp_path / "run")
    record = json.loads((run / "record.json").read_text())
    record["config"]["trainer"] |= {"accelerator": "cuda", "precision": "16-mixed"}
    (run / "record.json").write_text(json.dumps(record))
    said = []
    for number, folder in enumerate((run, image_run)):
        output = tmp_path / f"{number}.csv"
        assert main(["predict", str(folder), str(pictures / "test"), "--output", str(output)]) == 0
        said.append(rows(output))
    assert said[0] == said[1]
    assert "16-mixed, which a processor does not have" in caplog.text
