"""A run that SLURM takes off its nodes goes on in the same folder, requeued once, and ends as if nothing had been."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from lab import Lab, wait_for

from conftest import rows, run, same, slurm_id
from frostline.launchers.base import Job
from frostline.results.store import read_record

pytestmark = pytest.mark.slow
Slow = Callable[..., Job]
START_S = 120.0


def alike(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether a run has ended as the same one does in a process here, which takes no time to sleep."""
    monkeypatch.delenv("SLOW_S")
    return same(job, replace(job.config, outputs=str(tmp_path / "whole")))


def disturb(lab: Lab, job: Job, how: Callable[[str], object]) -> str:
    """Do something to a run's job in the middle of its second phase; return the job's ID."""
    wait_for(lambda: rows(job) >= 3, START_S)
    number = slurm_id(lab, job)
    how(number)
    return number


def sittings(job: Job) -> list[str]:
    """Return what each later sitting of a run said of where it goes on."""
    return [line for line in (job.folder / "log.txt").read_text().splitlines() if "Going on after" in line]


def requeues(lab: Lab, job: Job, number: str) -> tuple[int, int]:
    """Return how often SLURM has restarted a job, and how often submitit asked it to."""
    logs = [path.read_text() for path in (Path(job.config.outputs) / "slurm").glob(f"{number}_*_log.*")]
    return int(lab.field(number, "Restarts")), sum(text.count("Requeued job") for text in logs)


@pytest.mark.parametrize(("how", "asked"), [("requeue", 0), ("preempt", 1), ("warn", 0)])
def test_a_requeue_in_the_middle_of_a_phase_changes_nothing(
    lab: Lab, slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, asked: int
) -> None:
    monkeypatch.setenv("SLOW_S", "0.15")
    ways = {
        "requeue": lambda number: lab("scontrol", "requeue", number),
        "preempt": lambda number: lab("sbatch", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null", "--wrap=true"),
    }

    def warn(number: str) -> None:
        """Do as a preemption with time of grace that sends SIGTERM: a job that ended now would not be requeued."""
        lab("scancel", "--signal=TERM", number)
        wait_for(lambda: read_record(job.folder), 30)
        time.sleep(3)
        assert lab.field(number, "JobState") == "RUNNING"
        ways["requeue"](number)

    job = slow()
    with ThreadPoolExecutor() as threads:
        number = threads.submit(disturb, lab, job, warn if how == "warn" else ways[how])
        assert run(job)["slow"]["status"] == "done"
    assert requeues(lab, job, number.result()) == (1, asked)
    assert len(sittings(job)) == 1 and rows(job) == 6
    assert alike(job, tmp_path, monkeypatch)


def test_a_job_whose_limit_comes_once_too_often_says_so(lab: Lab, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOW_S", "0.15")
    job = slow("launcher.max_requeues=0", "launcher.time_min=1", "launcher.signal_s=20")
    with ThreadPoolExecutor() as threads:
        threads.submit(disturb, lab, job, lambda number: lab("scancel", "--signal=USR2", number))
        record = run(job)["slow"]
    assert record["status"] == "failed" and "launcher.max_requeues" in record["reason"]


def test_a_job_at_its_time_limit_is_requeued_once_and_goes_on(
    lab: Lab, slow: Slow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_S", "1.1")  # about 100 s in all; SLURM sends the signal up to 30 s early
    job = slow("launcher.time_min=2", "launcher.signal_s=30")
    with ThreadPoolExecutor() as threads:
        number = threads.submit(disturb, lab, job, lambda number: None)
        assert run(job)["slow"]["status"] == "done"
    assert requeues(lab, job, number.result()) == (1, 1)
    assert len(sittings(job)) == 1 and alike(job, tmp_path, monkeypatch)
