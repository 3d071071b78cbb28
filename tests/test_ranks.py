"""Runs on several ranks: the numbers of one, equal weights after every phase, one record whatever happens."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from tests import configs

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome, dispatch, environment
from frostline.launchers.spawn import drop_aborted
from frostline.ranks.place import find_first_failure
from frostline.results.store import run_folder, run_id

SMALL = [
    "backbone=timm",
    "backbone.name=test_vit",
    "backbone.weights=none",
    "data=digits",
    "data.size=32",
    "data.num_per_class=11",
    "data.batch_size=15",
    "launcher.threads=1",
]
START_S, ENDS_S = 30.0, 30.0


@pytest.fixture(scope="module", autouse=True)
def faulty() -> Iterator[None]:
    """Let configs name the heads of tests/faulty.py, and ranks find them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.syspath_prepend(str(Path(__file__).parent))  # a run's ID is made of what they find
        allow(["faulty"])
        yield
        allow([])


def make(outputs: Path, *overrides: str, ranks: int = 2) -> Run:
    several = ["trainer=ddp_cpu", f"trainer.devices={ranks}"]
    return resolve(compose("run", [*SMALL, *several, f"outputs={outputs}", *overrides]))


def rows(outcome: Outcome) -> list[dict[str, str]]:
    with (outcome.folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def tensors(outcome: Outcome) -> dict[str, torch.Tensor]:
    manifest = json.loads((outcome.folder / "checkpoints" / "manifest.json").read_text())
    last = max(manifest["saved"], key=lambda row: row["epoch"])
    return load_file(outcome.folder / "checkpoints" / last["file"])


def predictions(outcome: Outcome) -> list[tuple[str, str]]:
    with (outcome.folder / "predictions.csv").open() as file:
        return [(row["sample"], row["prediction"]) for row in csv.DictReader(file)]


def command(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def log(outcome: Outcome) -> str:
    return (outcome.folder / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["gradual", "lp_ft", "chain_thaw"])
def test_two_ranks_hold_equal_weights_after_every_phase(freeze: str, tmp_path: Path) -> None:
    outcome = dispatch(make(tmp_path, f"freeze={freeze}", "head.solver=null", "epochs=8"))
    assert outcome.record["status"] == "done", outcome.record["reason"]
    phases = len(outcome.record["plan"]["phases"])
    assert len(outcome.record["machine"]["names"]) == 2 and outcome.record["machine"]["hosts"] == 1
    assert phases > 1 and log(outcome).count("rank 0 frostline.training.weights: After phase") == phases
    sums = [line.rpartition(": ")[2] for line in log(outcome).splitlines() if "all 2 ranks hold the same" in line]
    assert len(sums) == 2 * phases and len(set(sums)) == phases  # each rank says it, and each phase has moved them


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """61 digits to train on, 20 to choose by, 101 to test on."""
    root = tmp_path_factory.mktemp("digits")
    digits: Any = load_digits()
    starts = {"train": (0, 61), "val": (61, 81), "test": (81, 182)}
    for split, (start, end) in starts.items():
        for place in range(start, end):
            path = root / split / str(digits.target[place]) / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[place] * 15).astype("uint8")).save(path)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_one_two_and_three_ranks_step_and_test_alike(name: str, folder: Path, tmp_path: Path) -> None:
    """Twenty steps of one batch each, shared out unevenly; then each of 101 samples is tested once."""
    options = [f"data.root={folder}", "data=imagefolder", "data.num_per_class=null", "data.batch_size=61", "epochs=20"]
    options += ["freeze=full", "augment=none", f"backbone.name={name}", "backbone.batch_norm=frozen"]
    outcomes = [dispatch(make(tmp_path, *options, ranks=ranks)) for ranks in (1, 2, 3)]
    assert [outcome.record["reason"] for outcome in outcomes] == [None] * 3
    assert len({outcome.id for outcome in outcomes}) == 3
    alone, *others = outcomes
    for outcome in others:
        for one, other in zip(rows(outcome), rows(alone), strict=True):
            assert float(one["train/loss"]) == pytest.approx(float(other["train/loss"]), abs=1e-5)
            assert [one[key] for key in one if key[:3] == "lr/"] == [other[key] for key in other if key[:3] == "lr/"]
        metrics, expected = outcome.record["metrics"]["test"], alone.record["metrics"]["test"]
        assert metrics["accuracy"] == expected["accuracy"]
        assert metrics == pytest.approx(expected, abs=1e-4)
        assert predictions(outcome) == predictions(alone)


@pytest.mark.slow
def test_a_head_is_tested_to_the_bit_alike_by_any_number_of_ranks(folder: Path, tmp_path: Path) -> None:
    """A solved head is the same on any number of ranks, so what is left to differ is the evaluation: nothing does."""
    options = [f"data.root={folder}", "data=imagefolder", "data.num_per_class=null", "data.batch_size=16", "epochs=1"]
    options += ["freeze=linear_probe", "head.solver=lbfgs", "augment=none"]
    outcomes = [dispatch(make(tmp_path, *options, ranks=ranks)) for ranks in (2, 1, 3)]
    first, *others = outcomes
    for outcome in others:
        assert outcome.record["metrics"] == first.record["metrics"]
        assert (outcome.folder / "predictions.csv").read_bytes() == (first.folder / "predictions.csv").read_bytes()
    assert len(predictions(first)) == 101
    assert log(first).count("rank 0 frostline.features.prefix: Cached") == 3  # train, val and test, by two ranks
    assert not [outcome for outcome in others if "Cached" in log(outcome)]  # read by one, and by three
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "cache").glob("*/manifest.json")]
    assert len(manifests) == 3 and {len(manifest["parts"]) for manifest in manifests} == {2}


@pytest.mark.slow
def test_a_live_batch_norm_ends_equal_on_all_ranks(tmp_path: Path) -> None:
    options = ["backbone.name=test_resnet", "backbone.batch_norm=live", "freeze=full", "epochs=2"]
    outcome = dispatch(make(tmp_path, *options))
    assert outcome.record["status"] == "done", outcome.record["reason"]
    assert "all 2 ranks hold the same weights" in log(outcome)
    refused = dispatch(make(tmp_path, *options, "trainer.sync_batchnorm=true"))
    assert refused.record["user_error"] and "trainer.sync_batchnorm" in refused.record["reason"]


WAYS = {
    "raise": "rank 1: ZeroDivisionError: division by zero",
    "raise, and linger": "rank 1: ZeroDivisionError: division by zero",
    "SIGKILL": "rank 1 was killed by SIGKILL",
    "exit 3": "rank 1 ended with exit code 3",
    "SIGTERM": "stopped by SIGTERM",
    "SIGTERM, and linger": "stopped by SIGTERM",
}


@pytest.mark.slow
def test_whatever_befalls_one_rank_costs_that_run_alone(tmp_path: Path) -> None:
    """Promises 10 to 12: all ranks end in time, the record says what the one had to say, and the sweep goes on."""
    jobs = []
    for how in WAYS:
        config = make(tmp_path, "freeze=full", "epochs=50")
        jobs.append(Job(how, replace(config, head={"_target_": "faulty.Faulty", "how": how, "after": 5, "rank": 1})))
    jobs.append(Job("good", make(tmp_path, "freeze=lp_ft", "epochs=2")))
    with configs.make("launcher/local", workers=1, threads=1, devices=2) as pool:
        ended = {job.name: (outcome.record, seconds) for job, outcome, seconds in pool.run(jobs)}
    assert ended["good"][0]["status"] == "done", ended["good"][0]["reason"]
    for how, reason in WAYS.items():
        record, seconds = ended[how]
        assert record["status"] == ("interrupted" if how.startswith("SIGTERM") else "failed")
        assert reason in record["reason"], record["reason"]
        assert seconds < START_S + ENDS_S
    assert "1 / 0" in ended["raise"][0]["traceback"]
    assert not list(tmp_path.glob("runs/*/owner.json"))
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in command(path)]


@pytest.mark.slow
def test_a_rank_that_is_done_waits_for_no_exit_handler(tmp_path: Path) -> None:
    config = make(tmp_path, "freeze=full", "epochs=1")
    began = time.monotonic()
    outcome = dispatch(replace(config, head={"_target_": "faulty.Faulty", "how": "linger", "after": 2, "rank": 1}))
    assert outcome.record["status"] == "done", outcome.record["reason"]
    assert time.monotonic() - began < START_S + ENDS_S


@pytest.mark.slow
def test_ranks_that_failed_start_again_from_the_last_checkpoint(tmp_path: Path) -> None:
    head = {"_target_": "faulty.Faulty", "how": "once", "after": 15, "rank": 1}
    outcome = dispatch(replace(make(tmp_path, "freeze=full", "epochs=3", "launcher.restarts=1"), head=head))
    assert outcome.record["status"] == "done", outcome.record["reason"]
    assert [row["epoch"] for row in rows(outcome)] == ["0", "1", "2"]
    assert log(outcome).count("rank 0 frostline.training.journal: Going on after epoch") == 1


PHASES = ["freeze=gradual", "head.solver=null", "head.dropout=0.2", "epochs=6", "augment=light", "data.views=2"]


@pytest.mark.slow
def test_a_killed_run_of_two_ranks_goes_on_and_ends_bit_equal(tmp_path: Path) -> None:
    """Promise 2: the leader and both ranks are killed in the middle of an epoch."""
    whole = dispatch(make(tmp_path / "whole", *PHASES))
    assert whole.record["status"] == "done", whole.record["reason"]
    config = make(tmp_path / "cut", *PHASES)
    place = run_folder(tmp_path / "cut", run_id(config))
    place.mkdir(parents=True)
    (place / "resolved.yaml").write_text(yaml.safe_dump(config.plain()))
    leader = subprocess.Popen(
        [sys.executable, "-m", "frostline.launchers.worker", str(place / "resolved.yaml")],
        env=environment(1),
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (place / "metrics.csv").exists() or len((place / "metrics.csv").read_text().splitlines()) < 4:
        assert leader.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait()
    deadline = time.monotonic() + ENDS_S
    while [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(place) in command(path)]:
        assert time.monotonic() < deadline, "the ranks outlive their leader"
        time.sleep(0.1)
    outcome = dispatch(config)
    assert outcome.record["status"] == "done", outcome.record["reason"]
    one, other = tensors(outcome), tensors(whole)
    assert one.keys() == other.keys() and any("optimizer" in key for key in one)
    assert not [key for key in one if not torch.equal(one[key], other[key])]
    assert (outcome.folder / "predictions.csv").read_bytes() == (whole.folder / "predictions.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_stopped_within_an_epoch_goes_on_after_its_last_step_to_the_bit(
    ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing done is lost: SIGTERM to one rank lets all of them keep the steps of the epoch that they are in."""
    head = {"_target_": "faulty.Faulty", "how": "stop once", "after": 12, "rank": ranks - 1, "dropout": 0.3}
    outcomes = {}
    for name in ("whole", "cut"):
        monkeypatch.setenv("MARK", str(tmp_path / f"mark of {name}"))
        config = make(tmp_path / name, "freeze=lp_ft", "epochs=4", "optimizer=sgd", ranks=ranks)
        if name == "whole":
            (tmp_path / "mark of whole").touch()
        outcomes[name] = dispatch(replace(config, head=head))
        if name == "cut":
            assert outcomes[name].record["status"] == "interrupted", outcomes[name].record["reason"]
            assert "Stopped after step 4 of epoch 1" in log(outcomes[name])
            outcomes[name] = dispatch(replace(config, head=head))
    cut, whole = outcomes["cut"], outcomes["whole"]
    assert cut.record["status"] == "done" == whole.record["status"], cut.record["reason"]
    assert "Going on after step 4 of epoch 1" in log(cut) and cut.id == whole.id
    one, other = tensors(cut), tensors(whole)
    assert not [key for key in one if not torch.equal(one[key], other[key])] and one.keys() == other.keys()
    numbers = [[value for key, value in row.items() if key != "seconds"] for row in rows(cut)]
    assert numbers == [[value for key, value in row.items() if key != "seconds"] for row in rows(whole)]
    assert not (cut.folder / "checkpoints" / "pause.safetensors").exists()


def test_the_first_failure_is_found_among_what_ranks_left() -> None:
    def status(time: float, status: str = "failed") -> dict[str, Any]:
        return {"time": time, "status": status}

    assert find_first_failure({0: status(2, "done"), 1: status(1, "done")}, {0: 0, 1: 0}) is None
    assert find_first_failure({0: status(2), 1: status(1)}, {0: 1, 1: 1}) == 1
    assert find_first_failure({0: status(2), 1: status(3, "done")}, {}) == 0
    assert (
        find_first_failure({0: status(2)}, {0: 1, 1: -9}) == 1
    )  # it died without a word, and rank 0 says that it lost it
    assert drop_aborted({1: status(2)}, {0: -6, 1: 1}, 3) == {1: 1}  # NCCL ended rank 0, which had lost the other
    for alive, exits in ((1, {0: -6, 1: 1}), (3, {0: -9, 1: 1}), (3, {0: 3, 1: 1})):
        assert drop_aborted({1: status(2)}, exits, alive) == exits
    assert drop_aborted({1: status(2, "done")}, {0: -6, 1: 0}, 3) == {0: -6, 1: 0}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["trainer=ddp", "trainer.devices=64"], ["trainer.accelerator", "trainer=ddp_cpu"]),
        (["trainer.num_nodes=2"], ["trainer.num_nodes", "launcher=slurm"]),
    ],
)
def test_what_is_not_here_is_said_before_training(overrides: list[str], words: list[str], tmp_path: Path) -> None:
    outcome = dispatch(make(tmp_path, *overrides))
    assert outcome.record["status"] == "failed" and outcome.record["user_error"]
    assert all(word in outcome.record["reason"] for word in words), outcome.record["reason"]
