"""What only a GPU shows: whole runs on one, steps that do not wait for it, ranks that exchange what lies there."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from frostline.ranks.place import meet_by_file
from frostline.results.store import read_record

HERE = Path(__file__).parent
NETWORK = ["backbone=timm", "backbone.weights=none", "backbone.name=test_resnet", "data.size=32"]


def run(frostline: Any, tmp_path: Path, gpu: str, *overrides: str, **environment: str) -> dict[str, Any]:
    """Run a config on the GPU, and return its record."""
    common = ["trainer.accelerator=cuda", "launcher.threads=1", "epochs=2", *overrides]
    done = frostline("run", *common, timeout=600, CUDA_VISIBLE_DEVICES=gpu, **environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (path,) = (tmp_path / "outputs").glob("**/record.json")
    record = read_record(path.parent)
    assert record is not None and record["status"] == "done" and record["similarity"]
    return record


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_the_default_run(frostline, tmp_path: Path, gpu: str, precision: str) -> None:
    record = run(frostline, tmp_path, gpu, "data.num_per_class=20", f"trainer.precision={precision}")
    assert record["metrics"]["test"]["accuracy"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("options", [["freeze=scratch"], ["freeze=last_k", "backbone.batch_norm=live"]], ids=" ".join)
def test_a_run_with_live_statistics(frostline, tmp_path: Path, gpu: str, options: list[str]) -> None:
    run(frostline, tmp_path, gpu, *NETWORK, "data.num_per_class=5", *options)


@pytest.mark.slow
@pytest.mark.parametrize("enabled", ["true", "false"])
def test_no_step_waits(frostline, tmp_path: Path, gpu: str, enabled: str) -> None:
    """In 45 steps an epoch, of which each 16th may; torch raises where another does."""
    watch = ["--allow", "watching", "+trainer.callbacks=[{_target_:watching.Watch}]", f"cache.enabled={enabled}"]
    size = ["data.num_per_class=null", "data.batch_size=24", "freeze=last_k"]
    run(frostline, tmp_path, gpu, *watch, *NETWORK, *size, PYTHONPATH=str(HERE))


def test_two_ranks_exchange_what_lies_on_a_gpu(tmp_path: Path, gpu: str) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
    words = [sys.executable, str(HERE / "exchanging.py")]
    ranks = [
        subprocess.Popen(
            [*words, str(rank), meet_by_file(tmp_path)], env=environment, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=100)[1][-2000:] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
