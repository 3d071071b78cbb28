"""`frostline run` from the command line to the record, on real digits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.worker_processes import gone

from frostline.commands.run import sweep_folder

TINY = ("backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "trainer.accelerator=cpu")
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
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
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
@pytest.mark.parametrize("launcher", ["pool", "joblib"])
def test_in_a_sweep_one_real_failure_stops_no_other(launcher: str, frostline, tmp_path: Path) -> None:
    # linear_probe has no argument k: its run fails, in its worker
    overrides = [
        "freeze=linear_probe,last_k",
        "++freeze.k=1",
        f"hydra/launcher={launcher}",
        "outputs=my out",
        *SMALL,
        *TINY,
    ]
    ended = frostline("run", "-m", *overrides)
    assert ended.returncode == 1, ended.stderr
    assert "freeze.k" in ended.stderr and "1 of 2 runs done" in ended.stderr
    statuses = [json.loads(path.read_text())["status"] for path in tmp_path.glob("my out/runs/*/record.json")]
    assert sorted(statuses) == ["done", "failed"]
    assert len(list(tmp_path.glob("my out/sweeps/*/*/outcome.json"))) == 2
    assert [one.name for one in tmp_path.iterdir()] == ["my out"]


# A stand-in for the worker, which costs seconds: the run with seed 1 ends in a way of its own.
SWEEP = """
import sys
from pathlib import Path
import frostline.commands.run as module
from frostline.errors import UserError

class Ended:
    def __init__(self, config):
        self.id, self.path = "x", Path("x/record.json")
        bad = config.seed == 1
        self.record = {"status": "diverged" if bad else "done", "reason": "loss is NaN" if bad else None}

class Launcher:
    def run_one(self, job):
        if job.config.seed == 2:
            raise UserError("outputs: cannot be written")
        return Ended(job.config)

module.make_launcher = lambda configs: Launcher()
sys.exit(module.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("seeds", "code", "done"), [("0,1,2,3", 1, 2), ("range(3,5)", 0, 2)])
def test_in_a_sweep_one_failure_stops_no_other(seeds: str, code: int, done: int, tmp_path: Path) -> None:
    options = ["freeze=full,lp_ft", "data.size=32", "hydra/launcher=basic"]
    command = [sys.executable, "-c", SWEEP, f"seed={seeds}", "-m", *options]
    ended = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert ended.returncode == code, ended.stderr
    assert f"{2 * done} of {4 * done if code else 2 * done} runs done" in ended.stderr
    assert ("loss is NaN" in ended.stderr) is bool(code) and "Traceback" not in ended.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["outputs"]


SWEPT = ("run", "-m", "seed=0,1,2", "freeze=full", "epochs=12", "launcher.threads=1", *(*SMALL[:2], SMALL[3]))
SWEPT += TINY


def start(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "frostline", *SWEPT, *overrides]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def statuses(folder: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["status"] for path in folder.glob("outputs/runs/*/record.json"))


def wait_until(true: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def second_is_on(folder: Path) -> bool:
    """Return whether one run has ended and the next one is past its first epoch."""
    return "done" in statuses(folder) and len(list(folder.glob("outputs/runs/*/metrics.csv"))) == 2


@pytest.mark.slow
def test_a_killed_sweep_ends_its_workers_and_goes_on_with_what_is_left(frostline, tmp_path: Path) -> None:
    """Promise 13."""
    process = start(tmp_path)
    wait_until(lambda: second_is_on(tmp_path))
    process.kill()
    process.communicate()
    assert gone(tmp_path, 30)
    assert statuses(tmp_path) == ["done", "interrupted"]
    (first,) = [path for path in tmp_path.glob("outputs/runs/*/record.json") if '"done"' in path.read_text()]
    before = first.stat().st_mtime_ns
    ended = frostline(*SWEPT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("done before") == 1 and "3 of 3 runs done" in ended.stderr
    assert first.stat().st_mtime_ns == before and statuses(tmp_path) == ["done"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM])  # Ctrl-C raises the same exception, by default
def test_a_sweep_that_is_stopped_ends_its_workers_and_records_it(number: int, tmp_path: Path) -> None:
    process = start(tmp_path)
    wait_until(lambda: second_is_on(tmp_path))
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said, said
    assert gone(tmp_path, 10)
    assert statuses(tmp_path) == ["done", "interrupted"]


@pytest.mark.slow
def test_two_sweeps_at_the_same_time_share_their_runs(tmp_path: Path) -> None:
    """Promise 14."""
    both = [start(tmp_path, "epochs=2") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert len(list(tmp_path.glob("outputs/sweeps/*"))) == 2
    assert len(list(tmp_path.glob("outputs/sweeps/*/*/outcome.json"))) == 6
    logs = [path.read_text() for path in tmp_path.glob("outputs/runs/*/log.txt")]
    assert [text.count("Phase all ended") for text in logs] == [1, 1, 1]


def test_sweeps_of_one_moment_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import frostline.commands.run as module

    class Stopped(module.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 1)

    monkeypatch.setattr(module, "datetime", Stopped)
    assert len({sweep_folder(tmp_path) for _ in range(5)}) == 5


def test_a_head_of_the_users_own_takes_the_flag(frostline, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\nclass Plain(nn.Linear):\n"
        "    solver = None\n\n    def __init__(self, features, classes):\n        super().__init__(features, classes)\n"
    )
    (tmp_path / "conf" / "head").mkdir(parents=True)
    (tmp_path / "conf" / "head" / "plain.yaml").write_text("_target_: mine.Plain\n")
    command = ("run", "--config-dir", "conf", "head=plain", "freeze=linear_probe", *SMALL)
    refused = frostline(*command)
    assert refused.returncode == 2 and "head._target_" in refused.stderr
    ended = frostline(*command, "--allow", "mine", PYTHONPATH=str(tmp_path))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"]])
def test_a_reader_that_has_gone_is_no_traceback(words: list[str], tmp_path: Path) -> None:
    """As with `frostline --help | head -1`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "frostline", *words]
    done = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode in (0, 141) and done.stderr == ""
