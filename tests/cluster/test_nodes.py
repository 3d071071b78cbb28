"""Runs of several ranks that SLURM starts, on two nodes or on one."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Lab, wait_for

from conftest import Make, rows, run, same, slurm_id
from frostline.launchers.base import Job

pytestmark = pytest.mark.slow
TWO = ("trainer=ddp_cpu", "trainer.num_nodes=2", "trainer.devices=1")
START_S, ENDS_S = 60.0, 30.0


def log(job: Job) -> str:
    return (job.folder / "log.txt").read_text()


@pytest.mark.parametrize(("nodes", "devices"), [(2, 1), (1, 2)])
def test_ranks_that_slurm_starts_hold_equal_weights_after_every_phase(
    lab: Lab, make: Make, nodes: int, devices: int
) -> None:
    config = make("trainer=ddp_cpu", f"trainer.num_nodes={nodes}", f"trainer.devices={devices}", "freeze=gradual")
    job = Job("two ranks", replace(config, epochs=6, head={**config.head, "solver": None}))
    record = run(job)["two ranks"]
    assert record["status"] == "done", record["reason"]
    assert (lab.field(slurm_id(lab, job), "NumNodes"), lab.field(slurm_id(lab, job), "NumTasks")) == (str(nodes), "2")
    phases = len(record["plan"]["phases"])
    sums = [line.rpartition(": ")[2] for line in log(job).splitlines() if "all 2 ranks hold the same" in line]
    assert phases > 1 and len(sums) == 2 * phases and len(set(sums)) == phases


@pytest.mark.parametrize(
    ("how", "reason"),
    [("SIGKILL", "rank 1: the worker was killed by SIGKILL"), ("raise", "rank 1: ZeroDivisionError: division by zero")],
)
def test_what_befalls_one_rank_ends_all_in_time_and_is_said(
    lab: Lab, faulty: Callable[..., Job], how: str, reason: str
) -> None:
    job = faulty(how, *TWO, "epochs=50", rank=1)
    began = time.monotonic()
    record = run(job)[how]
    assert record["status"] == "failed" and record["reason"].startswith(reason), record["reason"]
    assert time.monotonic() - began < START_S + ENDS_S
    wait_for(lambda: not lab("squeue", "-h"), ENDS_S)


def test_two_ranks_that_are_requeued_end_bit_equal_to_torchruns(
    lab: Lab, slow: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_S", "0.15")
    job = slow(*TWO)

    def disturb() -> str:
        wait_for(lambda: rows(job) >= 3, 120)
        lab("scancel", "--signal=USR2", number := slurm_id(lab, job))
        return number

    with ThreadPoolExecutor() as threads:
        number = threads.submit(disturb)
        record = run(job)["slow"]
    assert record["status"] == "done", record["reason"]
    assert lab.field(number.result(), "Restarts") == "1"
    assert rows(job) == 6 and log(job).count("rank 0 frostline.runs.experiment: Phase head ended") == 1
    monkeypatch.delenv("SLOW_S")
    local = {**job.config.trainer, "num_nodes": 1, "devices": 2}  # torchrun's two, which nobody disturbs
    assert same(job, replace(job.config, trainer=local, outputs=str(tmp_path / "whole")))
