"""What happens when things go wrong: real kills, signals, limits and bad files, on real worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests import configs
from tests.worker_processes import ended

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome, dispatch, environment
from frostline.results.store import read_record, run_folder, run_id

Sit = Callable[[Run], Outcome]
SMALL = [
    "backbone=timm",
    "backbone.name=test_resnet",
    "backbone.weights=none",
    "data.size=32",
    "trainer.accelerator=cpu",
    "launcher.threads=1",
    "head.dropout=0.2",
]


def make(outputs: Path, *overrides: str) -> Run:
    return resolve(compose("run", [*SMALL, f"outputs={outputs}", *overrides]))


@pytest.fixture(scope="module")
def sit() -> Iterator[Sit]:
    """Run a config in a warm worker, which costs a tenth of a process of its own."""
    with configs.make("launcher/local", workers=1, threads=1) as pool:
        yield lambda config: next(outcome for _, outcome, _ in pool.run([Job("", config)]))


def start(config: Run) -> tuple[subprocess.Popen, Path]:
    """Start a worker as a dispatcher would, and leave it alone."""
    folder = run_folder(Path(config.outputs), run_id(config))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolved.yaml").write_text(yaml.safe_dump(config.plain()))
    command = [sys.executable, "-m", "frostline.launchers.worker", str(folder / "resolved.yaml")]
    return subprocess.Popen(command, env=environment(1), stderr=subprocess.DEVNULL), folder


def wait_for_rows(process: subprocess.Popen, folder: Path, count: int) -> None:
    path = folder / "metrics.csv"
    deadline = time.monotonic() + 120
    while not path.exists() or len(path.read_text().splitlines()) < count + 1:
        assert process.poll() is None, "the worker ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    manifest = json.loads((folder / "checkpoints" / "manifest.json").read_text())
    last = max(manifest["saved"], key=lambda row: row["epoch"])
    return load_file(folder / "checkpoints" / last["file"])


PHASES = ["freeze=gradual", "head.solver=null", "epochs=6", "data.num_per_class=100", "augment=light", "data.views=2"]


@pytest.fixture(scope="module")
def uninterrupted(sit: Sit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outcome = sit(make(tmp_path_factory.mktemp("whole"), *PHASES))
    assert outcome.record["status"] == "done", outcome.record["reason"]
    return outcome.folder


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 5], ids=["at a phase's boundary", "later", "inside the last phase"])
def test_a_killed_run_goes_on_and_ends_bit_equal(sit: Sit, tmp_path: Path, uninterrupted: Path, rows: int) -> None:
    """Promises 1 and 3."""
    config = make(tmp_path, *PHASES)
    process, folder = start(config)
    wait_for_rows(process, folder, rows)
    process.kill()
    process.wait()
    assert read_record(folder) is None
    outcome = sit(config)
    assert outcome.record["status"] == "done", outcome.record["reason"]
    one, other = weights(outcome.folder), weights(uninterrupted)
    assert one.keys() == other.keys() and any("optimizer" in name for name in one)
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different
    whole = read_record(uninterrupted)
    assert whole is not None and outcome.record["metrics"] == whole["metrics"]
    assert (outcome.folder / "predictions.csv").read_bytes() == (uninterrupted / "predictions.csv").read_bytes()
    assert len((outcome.folder / "metrics.csv").read_text().splitlines()) == 7, "a line an epoch, none twice"


def test_the_same_command_again_returns_the_record(uninterrupted: Path) -> None:
    config = Run.read(yaml.safe_load((uninterrupted / "resolved.yaml").read_text()))
    before = time.monotonic()
    again = dispatch(config)
    assert not again.fresh and time.monotonic() - before < 1
    assert again.folder == uninterrupted


@pytest.mark.slow
def test_a_forced_run_starts_anew(sit: Sit, tmp_path: Path) -> None:
    config = make(tmp_path, "freeze=linear_probe", "epochs=1", "data.num_per_class=5", "head.solver=null")
    first = sit(config)
    second = sit(replace(config, force=True))
    assert second.fresh and second.folder == first.folder
    assert second.record["metrics"] == first.record["metrics"]


@pytest.mark.slow
def test_sigterm_is_recorded_and_can_be_resumed(sit: Sit, tmp_path: Path) -> None:
    config = make(tmp_path, *PHASES)
    process, folder = start(config)
    wait_for_rows(process, folder, 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 3
    record = read_record(folder)
    assert record is not None and record["status"] == "interrupted" and "SIGTERM" in record["reason"]
    assert sit(config).record["status"] == "done"


@pytest.mark.slow
def test_a_worker_whose_parent_is_killed_stops(tmp_path: Path) -> None:
    config = make(tmp_path, *PHASES, "epochs=500")
    folder = run_folder(tmp_path, run_id(config))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.plain()))
    code = (
        "import sys, yaml; from frostline.config.schema import Run; from frostline.launchers.dispatch import dispatch; "
    )
    code += "dispatch(Run.read(yaml.safe_load(open(sys.argv[1]))))"
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "config.yaml")])
    wait_for_rows(parent, folder, 1)
    worker = json.loads((folder / "owner.json").read_text())["pid"]
    parent.kill()
    parent.wait()
    assert ended(worker, 30)
    record = read_record(folder)
    assert record is not None and record["status"] == "interrupted"


@pytest.mark.slow
def test_two_workers_of_one_run_train_it_once(tmp_path: Path) -> None:
    """Two comparisons that share a run, started in the same second."""
    config = make(tmp_path, "freeze=linear_probe", "epochs=2", "data.num_per_class=5", "head.solver=null")
    (first, folder), (second, _) = start(config), start(config)
    assert first.wait(120) == 0 and second.wait(120) == 0
    assert (folder / "log.txt").read_text().count("Phase head ended") == 1
    assert not (folder / "owner.json").exists()


@pytest.mark.slow
def test_a_killed_worker_is_a_failed_run_with_its_reason(tmp_path: Path) -> None:
    """Promise 12: here the killer stands for the kernel that is out of memory."""
    config = make(tmp_path, *PHASES, "epochs=500")
    folder = run_folder(tmp_path, run_id(config))
    code = (
        "import json, os, pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "while not (folder / 'metrics.csv').exists(): time.sleep(0.05)\n"
        "os.kill(json.loads((folder / 'owner.json').read_text())['pid'], 9)\n"
    )
    killer = subprocess.Popen([sys.executable, "-c", code, str(folder)])
    outcome = dispatch(config)
    killer.wait()
    assert outcome.record["status"] == "failed" and "SIGKILL" in outcome.record["reason"]
    assert (folder / "metrics.csv").exists(), "nothing already made is lost"


@pytest.mark.slow
def test_a_run_has_a_time_limit(tmp_path: Path) -> None:
    config = make(tmp_path, *PHASES, "epochs=500", "launcher.timeout_s=12")
    before = time.monotonic()
    record = dispatch(config).record
    assert record["status"] == "failed" and "launcher.timeout_s=12" in record["reason"]
    assert time.monotonic() - before < 12 + 30


@pytest.mark.slow
@pytest.mark.parametrize("rate", ["1e30"])
def test_a_loss_that_is_no_number_is_recorded_as_diverged(sit: Sit, tmp_path: Path, rate: str) -> None:
    """Promise 27."""
    options = ["freeze=full", "optimizer=sgd", f"optimizer.lr={rate}", "schedule=constant", "schedule.warmup=0"]
    outcome = sit(make(tmp_path, *options, "data.num_per_class=100"))
    assert outcome.record["status"] == "diverged" and f"optimizer.lr={float(rate)}" in outcome.record["reason"]
    assert not dispatch(Run.read(outcome.record["config"])).fresh, "it would only diverge again"


@pytest.mark.slow
def test_the_newest_checkpoint_truncated(sit: Sit, tmp_path: Path) -> None:
    """Promise 7: it falls back to the one before, says so, and still ends the same."""
    config = make(tmp_path, *PHASES)
    process, folder = start(config)
    wait_for_rows(process, folder, 4)
    process.kill()
    process.wait()
    newest = max((folder / "checkpoints").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:1000])
    outcome = sit(config)
    assert outcome.record["status"] == "done"
    assert "damaged or missing; falling back" in (folder / "log.txt").read_text()


DISK_FULL = """
import resource, sys, yaml
from pathlib import Path
from frostline.config.schema import Run
from frostline.runs.experiment import run_experiment
config = Run.read(yaml.safe_load(open(sys.argv[1])))
folder = Path(config.outputs) / "runs" / "x"
folder.mkdir(parents=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
run_experiment(config, "x", folder).write(folder)
"""


def limited(config: Run, most: int) -> subprocess.CompletedProcess[str]:
    """Run a config where no file may be larger than ``most`` bytes: the kernel refuses."""
    path = Path(config.outputs) / "config.yaml"
    path.write_text(yaml.safe_dump(config.plain()))
    return subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(path), str(most)], capture_output=True, text=True, env={**os.environ}
    )


@pytest.mark.slow
def test_a_full_disk_while_caching(sit: Sit, tmp_path: Path) -> None:
    """Promise 20: the run goes on uncached, with a warning and the same result."""
    options = ["freeze=linear_probe", "head.solver=null", "epochs=2"]
    (tmp_path / "full").mkdir()
    done = limited(make(tmp_path / "full", *options), 100_000)
    assert done.returncode == 0, done.stderr
    record = read_record(tmp_path / "full" / "runs" / "x")
    assert record is not None and record["cached"][0].startswith("not cached: File too large")
    assert not list((tmp_path / "full" / "cache").glob("[!.]*")), "nothing half-written is left"
    free = sit(make(tmp_path / "free", *options)).record
    assert record["metrics"]["test"] == pytest.approx(free["metrics"]["test"], abs=1e-3)


@pytest.mark.slow
def test_a_full_disk_while_writing_a_checkpoint(tmp_path: Path) -> None:
    """Promise 5: the error names the file."""
    done = limited(make(tmp_path, "freeze=full", "epochs=1", "data.num_per_class=5"), 200_000)
    assert done.returncode != 0
    assert "File too large while writing a checkpoint" in done.stderr and "epoch-00000.safetensors" in done.stderr


def test_an_output_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Promise 6: an error before training starts."""
    from frostline.errors import UserError

    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="outputs: .* cannot be written"):
        dispatch(make(tmp_path / "file"))
