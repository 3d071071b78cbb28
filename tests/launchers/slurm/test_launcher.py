"""What the SLURM launcher takes from a config and from SLURM's commands, where there is no cluster (tests/cluster)."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.configs import plain_run

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.base import Job, make_launcher
from frostline.launchers.slurm.meeting import report_death
from frostline.launchers.slurm.queue import JobPlace, read_queue
from frostline.ranks.place import find_first_failure, leave_status, read_statuses
from frostline.results.store import read_record


def make(outputs: Path, *overrides: str) -> Run:
    given = ["launcher=slurm", "trainer.accelerator=cpu", f"outputs={outputs}"]
    return resolve(compose("run", [*given, *overrides]))


@pytest.mark.parametrize(
    "line",
    [
        "module load cuda/12.4 gcc/13.2.0",
        "module purge",
        "module swap gcc/12 gcc/13",
        "export NCCL_SOCKET_IFNAME=eth0",
        "export OMP_PROC_BIND=true",
        "ulimit -n 65536",
        "ulimit -l unlimited",
    ],
)
def test_a_line_of_set_up_that_loads_no_code_of_ones_own_is_taken(line: str, tmp_path: Path) -> None:
    config = make(tmp_path)
    make_launcher([replace(config, launcher={**config.launcher, "setup": [line]})])


@pytest.mark.parametrize(
    "line",
    [
        "touch canary",
        "module load cuda; touch canary",
        "module load cuda\ntouch canary",
        "module load $(touch canary)",
        "module load /tmp/evil",
        "module load ../evil",
        "module use /tmp/evil",
        "export NCCL_DEBUG=`touch canary`",
        "export NCCL_NET_PLUGIN=/tmp/evil.so",
        "export LD_PRELOAD=evil.so",
        "export PYTHONPATH=evil",
        "export FROSTLINE_ALLOW=os",
        "export PATH=evil",
        "source evil.sh",
        "ulimit -n 1 & touch canary",
        " module purge",
        "",
    ],
)
def test_any_other_line_of_set_up_is_refused(line: str, tmp_path: Path) -> None:
    config = make(tmp_path)
    with pytest.raises(UserError, match="launcher.setup: .* is not allowed"):
        make_launcher([replace(config, launcher={**config.launcher, "setup": [line]})])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("partition", "main\ntouch canary", "one word"),
        ("constraint", "a b", "one word"),
        ("exclude", "n1' --wrap='touch canary", "one word"),
        ("time_min", 0, "above 0"),
        ("mem_gb", -1.0, "above 0"),
        ("signal_s", 14400, "below launcher.time_min"),
        ("cpus_per_task", "many", "a whole number"),
    ],
)
def test_an_option_that_is_no_option_is_refused(key: str, value: object, words: str, tmp_path: Path) -> None:
    config = make(tmp_path)
    with pytest.raises(UserError, match=f"launcher.{key}: .*{words}"):
        make_launcher([replace(config, launcher={**config.launcher, key: value})])


def test_without_slurm_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch is not installed"), make_launcher([make(tmp_path)]):
        pass


def test_an_output_folder_that_is_a_pattern_is_refused(tmp_path: Path, commands: Path) -> None:
    config = make(tmp_path / "%j")
    with make_launcher([config]) as launcher, pytest.raises(UserError, match="outputs: .* no %"):
        list(launcher.run([Job("one", config)]))


def test_the_queue_is_read_whatever_jobs_are_called(commands: Path) -> None:
    (commands / "squeue.out").write_text("a|b|N/A|7|RUNNING|None\nfrostline-1|3|9_3|PENDING|PartitionTimeLimit\n")
    jobs = read_queue()
    assert jobs is not None
    assert jobs[JobPlace("a|b", None)].state == "RUNNING" and not jobs[JobPlace("a|b", None)].stuck
    assert str(jobs[JobPlace("frostline-1", 3)]) == "job 9_3 (PENDING, PartitionTimeLimit)"
    assert jobs[JobPlace("frostline-1", 3)].stuck and not jobs[JobPlace("frostline-1", 3)].ended
    (commands / "squeue").write_text("#!/bin/sh\necho down >&2\nexit 1\n")
    assert read_queue() is None


def test_a_run_whose_job_slurm_forgot_is_recorded_and_run_again(tmp_path: Path, commands: Path) -> None:
    """As after a crash of slurmctld: the job is in no list, and there is no record."""
    (commands / "sbatch.out").write_text("Submitted batch job 7\n")
    job = Job("one", make(tmp_path))
    with make_launcher([job.config]) as launcher:
        ((_, outcome, _),) = launcher.run([job])
    assert outcome.record["status"] == "failed" and "SLURM no longer knows the job" in outcome.record["reason"]
    assert read_record(job.folder) == outcome.record
    script = next((tmp_path / "slurm").glob("7_submission.sh")).read_text()
    assert "#SBATCH --signal=USR2@120" in script and "#SBATCH --requeue" in script and "ntasks-per-node=1" in script


@pytest.mark.parametrize(
    ("word", "code", "first"),
    [(-1.0, -signal.SIGABRT, 1), (1.0, -signal.SIGABRT, 0), (-1.0, -signal.SIGKILL, 0), (-1.0, 3, 0)],
)
def test_a_rank_that_nccl_ends_comes_after_the_one_that_it_lost(
    word: float, code: int, first: int, tmp_path: Path
) -> None:
    """Of rank 0 only an exit code is known; rank 1 said a second before or after that why it failed."""
    leave_status(tmp_path, 1, {"status": "failed", "time": time.time() + word})
    report_death(tmp_path, plain_run(), 0, code, None)
    assert find_first_failure(read_statuses(tmp_path), {}) == first
