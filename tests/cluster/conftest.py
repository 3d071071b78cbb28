"""A cluster for the tests of this folder, and runs for it."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny import RUN

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.launchers.base import Job, make_launcher
from frostline.launchers.dispatch import dispatch

sys.path.insert(0, str(Path(__file__).parent))

from lab import Lab, missing  # noqa: E402

SMALL = [*RUN, "launcher=slurm", "launcher.time_min=10"]
PHASES = ["freeze=lp_ft", "epochs=6", "data.num_per_class=20", "augment=light", "data.views=2"]
"""What a run needs that can be disturbed in the middle of a phase, and that draws random numbers."""

Make = Callable[..., Run]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Lab]:
    """A cluster of two nodes, for all tests; a short path, for sockets' sake."""
    why = missing()
    if why is not None:
        pytest.skip(f"no SLURM: {why}")
    with tempfile.TemporaryDirectory(prefix="lab.", ignore_cleanup_errors=True) as folder:
        made = Lab(Path(folder))
        try:
            made.up()
            yield made
        finally:
            made.down()


@pytest.fixture
def lab(cluster: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The cluster, to which this process and those that it starts are pointed; configs may name the tests' heads."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(path) for path in Path(__file__).parents[:2]))
    for folder in Path(__file__).parents[:2]:
        monkeypatch.syspath_prepend(str(folder))  # a run's ID is made of what they find
    monkeypatch.setenv("FROSTLINE_ALLOW", "")
    allow(["faulty", "slow"])
    return cluster


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return the config of a small run on the cluster."""

    def made(*overrides: str, head: dict[str, Any] | None = None) -> Run:
        config = resolve(compose("run", [*SMALL, "freeze=full", f"outputs={tmp_path}/outputs", *overrides]))
        return replace(config, head=head) if head else config

    return made


@pytest.fixture
def slow(make: Make) -> Callable[..., Job]:
    """Return a run of two phases that sleeps in every step as long as SLOW_S says."""
    return lambda *overrides: Job("slow", make(*PHASES, *overrides, head={"_target_": "slow.Slow"}))


@pytest.fixture
def faulty(make: Make) -> Callable[..., Job]:
    """Return a run that misbehaves in its third training step, on one rank if it has several."""

    def made(how: str, *overrides: str, rank: int = 0) -> Job:
        return Job(how, make(*overrides, head={"_target_": "faulty.Faulty", "how": how, "after": 3, "rank": rank}))

    return made


def run(*jobs: Job) -> dict[str, dict[str, Any]]:
    """Run jobs, and return their records by the jobs' names."""
    with make_launcher([job.config for job in jobs]) as launcher:
        return {job.name: outcome.record for job, outcome, _ in launcher.run(list(jobs))}


def place(job: Job) -> dict[str, Any]:
    """Return what a run's folder says of its job."""
    return json.loads((job.folder / "job.json").read_text())


def slurm_id(lab: Lab, job: Job) -> str:
    """Return the ID of a run's job."""
    here = place(job)
    ids = dict(line.split("|") for line in lab("squeue", "-h", "-r", "-t", "all", "-o", "%j/%K|%i").splitlines())
    return ids[f"{here['name']}/{'N/A' if here['index'] is None else here['index']}"]


def rows(job: Job) -> int:
    """Return how many epochs a run has behind it."""
    path = job.folder / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the last checkpoint's tensors: the network's and the optimizer's."""
    manifest = json.loads((folder / "checkpoints" / "manifest.json").read_text())
    last = max(manifest["saved"], key=lambda row: row["epoch"])
    return load_file(folder / "checkpoints" / last["file"])


def same(job: Job, config: Run) -> bool:
    """Return whether a run has ended bit for bit as one of this config does, on this machine and undisturbed."""
    whole = dispatch(config)
    assert whole.record["status"] == "done", whole.record["reason"]
    ours, theirs = weights(job.folder), weights(whole.folder)
    tables = {(folder / "predictions.csv").read_bytes() for folder in (job.folder, whole.folder)}
    return len(tables) == 1 and ours.keys() == theirs.keys() and all(map(torch.equal, ours.values(), theirs.values()))
