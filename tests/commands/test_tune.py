"""`frostline tune` from the command line to the report, on real digits and a small network."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.worker_processes import gone

SMALL = (
    "backbone=timm",
    "backbone.name=test_resnet",
    "backbone.weights=none",
    "data.size=32",
    "data.num_per_class=5",
    "trainer.accelerator=cpu",
    "launcher.workers=2",
    "launcher.threads=1",
)
SPACE = "tune.space={freeze: [full, last_k], freeze.k: {int: [1, 3], when: {freeze: last_k}}}"
RATE = "optimizer.lr=tag(log,interval(1e-3,1.0))"
STUDY = ("tune", SPACE, RATE, "tune.name=small", "tune.trials=8", "tune.startup=3", "tune.pruner=asha", *SMALL)


def study(outputs: Path) -> dict[str, Any]:
    return json.loads((outputs / "studies" / "small" / "study.json").read_text())


def ended(outputs: Path) -> dict[int, dict[str, Any]]:
    """Return the trials of a study that have ended, by number."""
    path = outputs / "studies" / "small" / "study.json"
    rows = json.loads(path.read_text())["trials"] if path.exists() else []
    return {row["number"]: row for row in rows if row["status"] not in ("running", "waiting")}


@pytest.mark.slow
def test_a_killed_study_goes_on_with_its_count_prunes_and_reports(frostline, tmp_path: Path) -> None:
    """Promise 13 for a study: its own process is killed, and the same command again goes on where it stood."""
    arguments, outputs = (*STUDY, "epochs=9"), tmp_path / "outputs"
    parent = subprocess.Popen(
        [sys.executable, "-m", "frostline", *arguments], cwd=tmp_path, env=os.environ, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while len(ended(outputs)) < 3:
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(tmp_path, 60), "the workers outlive the study"
    before = ended(outputs)
    assert 3 <= len(before) < 8

    again = frostline(*arguments)
    assert again.returncode == 0, again.stderr
    assert f"8 trials, {len(before)} there already" in again.stdout
    assert again.stdout.splitlines()[-1] == "outputs/studies/small/report.html"
    after = ended(outputs)
    assert sorted(after) == list(range(8))
    assert all(after[number] == row for number, row in before.items())
    pruned = [row for row in after.values() if row["status"] == "pruned"]
    assert pruned and all(row["epochs"] < 9 for row in pruned)
    for row in pruned:
        folder = outputs / "studies" / "small" / row["path"]
        assert json.loads((folder / "record.json").read_text())["status"] == "pruned"
        with (folder / "metrics.csv").open() as file:
            assert len(list(csv.DictReader(file))) == row["epochs"]

    final = json.loads((outputs / "studies" / "small" / study(outputs)["final"]["path"] / "record.json").read_text())
    assert final["status"] == "done" and final["config"]["seed"] == 0 and "test" in final["metrics"]
    trials = [json.loads(path.read_text()) for path in outputs.glob("runs/*/record.json")]
    assert sum("test" in record["metrics"] for record in trials) == 1

    known = study(outputs)
    third = frostline(*arguments)
    assert third.returncode == 0 and "8 trials, 8 there already" in third.stdout
    assert study(outputs)["trials"] == known["trials"]
    shown = frostline("report", "outputs/studies/small", "--out", "elsewhere")
    assert shown.returncode == 0 and (tmp_path / "elsewhere" / "report.md").exists()


def test_plan_and_mistakes_write_nothing(frostline, tmp_path: Path) -> None:
    planned = frostline(*STUDY, "--plan")
    assert planned.returncode == 0, planned.stderr
    assert "freeze.k: 1 to 3, with freeze=last_k" in planned.stdout
    assert "small: 8 trials, 0 there already" in planned.stdout
    for extra, words in (
        (("optimizer.lr=0.1",), "optimizer.lr: it is searched, and given as well"),
        (("--detach", "launcher=slurm"), "--detach"),
    ):
        said = frostline(*STUDY, *extra)
        assert said.returncode == 2 and words in said.stderr
    assert not (tmp_path / "outputs").exists()


def test_the_config_is_shown_without_what_sweeps(frostline) -> None:
    said = frostline(*STUDY, "--cfg", "job")
    assert said.returncode == 0, said.stderr
    assert "pruner: asha" in said.stdout
