"""Runs as arrays of jobs on a real SLURM: whatever becomes of one costs that one alone."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import timm
from lab import Lab, wait_for
from safetensors.torch import save_file

from conftest import Make, place, run, slurm_id
from frostline.errors import UserError
from frostline.launchers.base import Job, make_launcher
from frostline.results.store import read_record
from frostline.runs.calls import count_passes, extract

pytestmark = pytest.mark.slow
Faulty = Callable[..., Job]


def test_one_of_an_array_of_four_fails_and_the_same_command_again_runs_it_alone(
    lab: Lab, make: Make, faulty: Faulty
) -> None:
    bad = faulty("SIGKILL")
    jobs = [*(Job(f"good {seed}", make(f"seed={seed}")) for seed in range(3)), bad]
    records = run(*jobs)
    assert [records[job.name]["status"] for job in jobs] == ["done", "done", "done", "failed"]
    assert records["SIGKILL"]["reason"] == "the worker was killed by SIGKILL (out of memory?)"
    first = [place(job) for job in jobs]
    assert {one["name"] for one in first} == {first[0]["name"]} and [one["index"] for one in first] == [0, 1, 2, 3]
    again = run(*jobs)
    assert again["SIGKILL"]["status"] == "failed"
    assert [place(job) for job in jobs[:3]] == first[:3] and place(bad)["name"] != first[3]["name"]
    assert place(bad)["index"] is None


def test_leaving_cancels_the_jobs_and_records_the_runs_as_interrupted(lab: Lab, faulty: Faulty, make: Make) -> None:
    hanging = [faulty("hang"), faulty("hang", "seed=1")]
    with make_launcher([hanging[0].config]) as launcher:
        going = launcher.run([*hanging, Job("good", make("seed=2"))])
        assert next(going)[1].record["status"] == "done"
        assert {job for job, _ in launcher.running} == set(hanging)
        going.close()
    records = [read_record(job.folder) for job in hanging]
    assert [record and record["status"] for record in records] == ["interrupted"] * 2
    wait_for(lambda: not lab("squeue", "-h"), 10)


def test_a_job_that_can_never_start_and_one_that_is_cancelled_are_said(lab: Lab, make: Make, faulty: Faulty) -> None:
    never = run(Job("long", make("launcher.partition=short", "launcher.time_min=10")))["long"]
    assert never["status"] == "failed" and "PartitionTimeLimit" in never["reason"]
    wait_for(lambda: not lab("squeue", "-h"), 10)
    hanging = faulty("hang deaf")
    with ThreadPoolExecutor() as threads:
        cancelled = threads.submit(cancel, lab, hanging)
        record = run(hanging)["hang deaf"]
        assert record["status"] == "interrupted"
        assert record["reason"].startswith(f"SLURM ended job {cancelled.result()} (CANCELLED) before the run had; see ")


def cancel(lab: Lab, job: Job) -> str:
    """Cancel a run's job once it trains; return its ID."""
    wait_for(lambda: (job.folder / "owner.json").exists(), 60)
    number = slurm_id(lab, job)
    lab("scancel", number)
    return number


def test_what_sbatch_refuses_is_one_error_before_anything_is_submitted(lab: Lab, make: Make) -> None:
    for override, words in (
        ("launcher.partition=nosuch", "invalid partition specified: nosuch"),
        ("launcher.constraint=a100", "Invalid feature specification"),
        ("launcher.gpus_per_node=2", "Invalid generic resource"),
    ):
        with pytest.raises(UserError, match=words):
            run(Job("one", make(override)))
    wait_for(lambda: not lab("squeue", "-h"), 10)


def test_runs_wait_for_a_drained_node_and_end_on_one_that_is_drained_under_them(
    lab: Lab, slow: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_S", "0.1")
    jobs = [replace(slow(f"seed={seed}"), name=str(seed)) for seed in range(2)]
    lab("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    with make_launcher([jobs[0].config]) as launcher:
        launcher.detach = True  # type: ignore[attr-defined]
        assert not list(launcher.run(jobs))
        time.sleep(4)
        assert lab("squeue", "-h", "-o", "%T").split() == ["PENDING"] and not launcher.running
    lab("scontrol", "update", "nodename=n1,n2", "state=resume")
    wait_for(lambda: all((job.folder / "metrics.csv").exists() for job in jobs), 90)
    before = [place(job) for job in jobs]
    lab("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    try:
        records = run(*jobs)
    finally:
        lab("scontrol", "update", "nodename=n1,n2", "state=resume")
    assert [record["status"] for record in records.values()] == ["done", "done"]
    assert [place(job) for job in jobs] == before
    assert {lab.field(slurm_id(lab, job), "Restarts") for job in jobs} == {"0"}


def test_the_caches_are_filled_by_a_job(lab: Lab, make: Make, tmp_path: Path) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    config = make("freeze=linear_probe", f"backbone.weights={tmp_path}/weights.safetensors")
    with make_launcher([config]) as launcher:
        for passes in (3, 0):
            (found,) = launcher.share(extract, [config], 1)
            assert found["passes"] == passes
            wait_for(lambda: not lab("squeue", "-h"), 10)
        bad = replace(config, backbone={**config.backbone, "name": "nosuch"})
        (refused,) = launcher.share(extract, [bad], 1)
        assert isinstance(refused, UserError) and "nosuch" in str(refused)


def test_jobs_of_one_array_share_an_extraction(lab: Lab, make: Make) -> None:
    configs = [make("freeze=linear_probe", f"seed={seed}", "launcher.workers=2") for seed in (0, 1)]
    with make_launcher(configs) as launcher:
        assert launcher.ask(count_passes, configs) == 6  # weights are drawn by the seed
        found = launcher.share(extract, configs, 5)
        assert sum(one["passes"] for one in found) == 6 and len(found) < 5, "who has not begun has nothing left to do"
        assert launcher.ask(count_passes, configs) == 0
        again, *_ = launcher.share(extract, configs, 5)
        assert not isinstance(again, UserError), again
        assert again["passes"] == 0
    wait_for(lambda: not lab("squeue", "-h"), 60)
