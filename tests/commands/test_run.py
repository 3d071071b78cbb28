"""`frostline run` from the command line to the record, on real digits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frostline.commands.run import sweep_folder

SMALL = ("data.size=32", "data.num_per_class=4", "epochs=1", "trainer.enable_progress_bar=false")


def test_a_run_prints_its_record_and_again_at_once(frostline, tmp_path: Path) -> None:
    ended = frostline("run", "freeze=linear_probe", "seed=0", *SMALL)
    assert ended.returncode == 0, ended.stderr
    path = tmp_path / ended.stdout.splitlines()[-1]
    record = json.loads(path.read_text())
    assert record["status"] == "done" and path.parent.name == record["id"]
    assert record["config"]["seed"] == 0 and record["config"]["data"]["num_per_class"] == 4
    assert [one.name for one in tmp_path.iterdir()] == ["outputs"]
    before = path.stat().st_mtime_ns
    start = time.perf_counter()
    again = frostline("run", "freeze=linear_probe", "seed=0", *SMALL)
    assert again.stdout.splitlines()[-1] == ended.stdout.splitlines()[-1]
    assert path.stat().st_mtime_ns == before and time.perf_counter() - start < 4


def test_a_mistake_that_the_worker_finds_is_still_the_users(frostline) -> None:
    ended = frostline("run", "data=imagefolder", "data.root=nowhere", *SMALL)
    assert ended.returncode == 2
    assert "data.root" in ended.stderr and "nowhere" in ended.stderr and "Traceback" not in ended.stderr
    assert ended.stdout.splitlines()[-1].endswith("record.json")


def test_cfg_shows_and_runs_nothing(frostline, tmp_path: Path) -> None:
    ended = frostline("run", "--cfg", "job", "seed=5", "optimizer=torch", "optimizer.name=RAdam", "--resolve")
    assert ended.returncode == 0, ended.stderr
    assert "seed: 5" in ended.stdout and "_target_: torch.optim.RAdam" in ended.stdout
    assert not list(tmp_path.iterdir())


def test_ctrl_c_is_recorded(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "frostline", "run", "freeze=full", "data.size=64", "epochs=200"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("outputs/runs/*/owner.json")):
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    (path,) = tmp_path.glob("outputs/runs/*/record.json")
    assert json.loads(path.read_text())["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_in_a_sweep_one_failure_stops_no_other(launcher: str, frostline, tmp_path: Path) -> None:
    # linear_probe has no argument k: its run fails, in its worker
    overrides = ["freeze=linear_probe,last_k", "+freeze.k=1", f"hydra/launcher={launcher}", "outputs=my out", *SMALL]
    ended = frostline("run", "-m", *overrides)
    assert ended.returncode == 1, ended.stderr
    assert "freeze.k" in ended.stderr and "1 of 2 runs done" in ended.stderr
    statuses = [json.loads(path.read_text())["status"] for path in tmp_path.glob("my out/runs/*/record.json")]
    assert sorted(statuses) == ["done", "failed"]
    assert len(list(tmp_path.glob("my out/sweeps/*/*/outcome.json"))) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["my out"]


def test_sweeps_of_one_moment_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import frostline.commands.run as module

    class Stopped(module.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 1)

    monkeypatch.setattr(module, "datetime", Stopped)
    assert len({sweep_folder(tmp_path) for _ in range(5)}) == 5
