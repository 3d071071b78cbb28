"""The pool: many runs in warm workers, each as if it were the first, and whatever a run does costs that run alone."""

import importlib
import json
import math
import operator
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests import configs
from tests import worker_processes as processes
from tests.tiny import RUN

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome, dispatch, share_threads
from frostline.launchers.pool.launcher import Pool, name_gpus
from frostline.results.store import read_record


@pytest.fixture(scope="module", autouse=True)
def faulty() -> Iterator[None]:
    """Let configs name the heads of tests/faulty.py, and workers find them."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    allow(["faulty"])
    yield
    allow([])
    sys.path.pop(0)


def find(name: str) -> Callable[..., Any]:
    """Return a function of tests/faulty.py, as a worker finds it."""
    return getattr(importlib.import_module("faulty"), name)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with configs.make("launcher/local", workers=1, threads=1) as made:
        yield made


def make(outputs: Path, *overrides: str) -> Run:
    return resolve(compose("run", [*RUN, "freeze=lp_ft", f"outputs={outputs}", *overrides]))


def misbehave(outputs: Path, how: str, *overrides: str, after: int = 3) -> Job:
    config = make(outputs, "freeze=full", *overrides)
    return Job(how, replace(config, head={"_target_": "faulty.Faulty", "how": how, "after": after}))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    manifest = json.loads((folder / "checkpoints" / "manifest.json").read_text())
    last = max(manifest["saved"], key=lambda row: row["epoch"])
    return load_file(folder / "checkpoints" / last["file"])


def same(one: Outcome, other: Outcome) -> bool:
    """Return whether two runs came to the same, to the last bit."""
    first, second = weights(one.folder), weights(other.folder)
    return (
        one.record["metrics"] == other.record["metrics"]
        and first.keys() == second.keys()
        and all(torch.equal(first[name], second[name]) for name in first)
        and (one.folder / "predictions.csv").read_bytes() == (other.folder / "predictions.csv").read_bytes()
    )


WAYS = {
    "hang": "stopped after launcher.timeout_s=5 seconds",
    "hang deaf": "stopped after launcher.timeout_s=5 seconds",
    "hang with a child": "stopped after launcher.timeout_s=5 seconds",
    "SIGKILL": "killed by SIGKILL (out of memory?)",
    "SIGSEGV": "killed by SIGSEGV",
    "exit 0": "ended with exit code 0 and without a record; see ",
    "exit 3": "ended with exit code 3 and without a record; see ",
    "sys.exit": "SystemExit: 0",
    "raise": "ZeroDivisionError: division by zero",
    "memory": "can't allocate memory",
}


@pytest.fixture(scope="module")
def ended(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every way to go wrong, in three slots side by side, between good runs."""
    outputs = tmp_path_factory.mktemp("ways")
    good = [Job(f"good {seed}", make(outputs, f"seed={seed}")) for seed in (1, 2, 3)]
    limits = {how: 5 if "hang" in how else 100 for how in WAYS}
    bad = [misbehave(outputs, how, f"launcher.timeout_s={limit}") for how, limit in limits.items()]
    with configs.make("launcher/local", workers=3, threads=1) as several:
        return {job.name: outcome for job, outcome, _ in several.run([good[0], *bad, *good[1:]])}


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_whatever_a_run_does_to_its_worker_costs_that_run_alone(ended: dict[str, Outcome], how: str) -> None:
    """Promise 12. SIGKILL stands for a kernel that is out of memory; `memory` is a limit that torch runs into."""
    record = ended[how].record
    assert record["status"] == "failed" and WAYS[how] in record["reason"], record["reason"]
    assert read_record(ended[how].folder) == record


@pytest.mark.slow
def test_the_pool_goes_on_after_all_that(ended: dict[str, Outcome]) -> None:
    assert [ended[f"good {seed}"].record["status"] for seed in (1, 2, 3)] == ["done"] * 3


@pytest.mark.slow
def test_what_a_stopped_run_has_started_ends_with_it(ended: dict[str, Outcome]) -> None:
    """Promise 28: a data-loading process that hangs and does not listen."""
    words = (ended["hang with a child"].folder / "log.txt").read_text().split()
    child = int(words[words.index("child") + 1])
    assert processes.ended(child)


@pytest.mark.slow
def test_a_warm_worker_does_each_run_as_a_fresh_process_would(pool: Pool, tmp_path: Path) -> None:
    """A run, others, and the first again, in one process: to the last bit what a process of its own makes."""
    config = make(tmp_path / "alone", "head.dropout=0.2", "augment=light", "data.views=2")
    alone = dispatch(config)
    jobs = [Job(name, replace(config, outputs=str(tmp_path / name))) for name in ("first", "again")]
    other = Job("other", make(tmp_path / "first", "freeze=full", "optimizer=sgd", "seed=5"))
    workers, ends = [], {}
    for job in [jobs[0], other, misbehave(tmp_path, "leak", after=8), jobs[1]]:
        ends |= {job.name: outcome for job, outcome, _ in pool.run([job])}
        workers.append(pool.call(os.getpid))
    assert len(set(workers)) == 1
    assert same(alone, ends["first"]) and same(alone, ends["again"])
    assert not same(alone, ends["other"])


def test_a_run_leaves_nothing_in_its_worker(pool: Pool, tmp_path: Path) -> None:
    list(pool.run([Job("warm up", make(tmp_path))]))
    before, worker = pool.call(find("state")), pool.call(os.getpid)
    ((_, outcome, _),) = pool.run([misbehave(tmp_path, "leak", after=8)])
    assert outcome.record["status"] == "done", outcome.record["reason"]
    assert pool.call(find("state")) == before and pool.call(os.getpid) == worker


def test_a_run_computes_as_its_own_config_says_whatever_came_before(pool: Pool, tmp_path: Path) -> None:
    """In one process: cuBLAS would read its variable in the first of these runs, and torch refuse the next one."""
    other = ["trainer.deterministic=true", "trainer.matmul_precision=medium"]
    fast = ["trainer.benchmark=true", "trainer.matmul_precision=high"]
    said = []
    for name, given in (("plain", []), ("other", other), ("fast", fast), ("again", [])):
        ((_, outcome, _),) = pool.run([misbehave(tmp_path / name, "tell", *given)])
        text = (outcome.folder / "log.txt").read_text()
        said.append(next(line for line in text.splitlines() if line.startswith("numerics")).split()[1:])
    assert [words[:4] for words in said] == [
        ["highest", "False", "False", "0"],
        ["medium", "True", "False", "2"],
        ["high", "True", "True", "0"],
        ["highest", "False", "False", "0"],
    ]
    assert {tuple(words[4:]) for words in said} == {(":4096:8", said[0][5])}, "one process"


def test_ddp_on_one_device_leaves_no_process_group(pool: Pool, tmp_path: Path) -> None:
    for seed, trainer in enumerate(("ddp_cpu", "default", "ddp_cpu")):
        config = make(tmp_path, f"trainer={trainer}", "trainer.devices=1", f"seed={seed}", "freeze=full")
        ((_, outcome, _),) = pool.run([Job("one", config)])
        assert outcome.record["status"] == "done", outcome.record["reason"]
        assert not pool.call(torch.distributed.is_initialized)


def test_a_log_holds_what_its_own_run_said(pool: Pool, tmp_path: Path) -> None:
    jobs = [Job(str(seed), make(tmp_path, f"seed={seed}")) for seed in (1, 2)]
    for _, outcome, _ in pool.run(jobs):
        text = (outcome.folder / "log.txt").read_text()
        assert text.count("Phase head ended") == 1 and "trainable" in text  # the log and the plan's table


def test_a_run_that_is_done_is_not_run_again(pool: Pool, tmp_path: Path) -> None:
    job = Job("one", make(tmp_path, "freeze=linear_probe"))
    fresh = [outcome.fresh for _, outcome, _ in (*pool.run([job]), *pool.run([job, job]))]
    assert fresh == [True, False, False]


def test_a_users_mistake_in_a_run_is_its_reason(pool: Pool, tmp_path: Path) -> None:
    config = replace(make(tmp_path), freeze={"_target_": "frostline.freeze.strategies.last_k", "k": 99})
    ((_, outcome, _),) = pool.run([Job("bad", config)])
    assert outcome.record["status"] == "failed" and outcome.record["user_error"]


def test_an_output_folder_that_cannot_be_written_stops_everything(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="outputs: .* cannot be written"):
        list(pool.run([Job("one", make(tmp_path / "file"))]))


def test_a_call_returns_what_the_function_does(pool: Pool) -> None:
    assert pool.call(math.gcd, 12, 18) == 6
    with pytest.raises(UserError, match="word: 'yes' is invalid"):
        pool.call(find("refuse"), "yes")
    with pytest.raises(ZeroDivisionError):
        pool.call(operator.truediv, 1, 0)
    for code, why in ((0, "exit code 0"), (7, "exit code 7")):
        with pytest.raises(UserError, match=rf"_exit: the worker ended with {why}\."):
            pool.call(os._exit, code)
    assert pool.call(math.gcd, 4, 6) == 2


def test_a_worker_that_dies_between_two_runs_is_replaced(pool: Pool) -> None:
    for pause in (0.0, 1.0):  # before and after the pool has seen it
        os.kill(pool.call(os.getpid), signal.SIGKILL)
        time.sleep(pause)
        assert pool.call(math.gcd, 4, 6) == 2


def test_the_fork_server_has_one_thread_and_nothing_of_a_run(pool: Pool) -> None:
    server = pool.call(os.getppid)
    assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
    assert b"frostline" in Path(f"/proc/{server}/cmdline").read_bytes()


def test_leaving_early_stops_what_is_on_and_records_it(tmp_path: Path) -> None:
    hanging = misbehave(tmp_path, "hang")
    with configs.make("launcher/local", workers=2, threads=1) as pool:
        going = pool.run([hanging, Job("good", make(tmp_path)), Job("never", make(tmp_path, "seed=9"))])
        assert next(going)[1].record["status"] == "done"
        going.close()
        record = read_record(hanging.folder)
        assert record is not None and record["status"] == "interrupted"
        assert not list(tmp_path.glob("runs/*/owner.json")) and len(list(tmp_path.glob("runs/*"))) == 2
        assert pool.call(math.gcd, 4, 6) == 2


def test_a_run_is_asked_for_only_when_there_is_room_for_it(pool: Pool, tmp_path: Path) -> None:
    told: list[str] = []

    def jobs() -> Iterator[Job]:
        for seed in (20, 21):
            yield Job(f"after {len(told)}", make(tmp_path, f"seed={seed}"))

    for job, _, _ in pool.run(jobs()):
        told.append(job.name)
    assert told == ["after 0", "after 1"]


@pytest.mark.slow
def test_each_worker_has_its_own_gpu_and_threads_and_a_fresh_process_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.launchers.pool.warm.count_gpus", find("two"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5,7")
    with configs.make("launcher/local", fresh=True) as pool:
        seen = [slot.about[3] for slot in pool.slots]
        assert seen == ["3", "GPU-5"]
        assert pool.call(os.getenv, "CUDA_VISIBLE_DEVICES") == "3"
        assert pool.call(os.getpid) != pool.call(os.getpid)
        assert pool.call(os.getenv, "OMP_NUM_THREADS") == str(share_threads(None, 2))


def test_a_gpu_is_known_by_the_name_that_it_has_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert name_gpus(0) == [] and name_gpus(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,MIG-1")
    assert name_gpus(2) == ["2", "MIG-1"]
