"""A fit on two ranks by DDP: equal weights after every phase, the same bits after a break, and drift is found."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
NEVER = 10_000


def start(folder: Path, epochs: int, step: int, *ways: str) -> list[dict[str, Any]]:
    """Start a fit on two ranks, and return what each of them wrote."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "tests" / "api" / "fit_ranks.py"), str(folder), str(epochs), str(step), *ways]
    paths = {"PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(command, env=os.environ | paths, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"rank-{rank}.pt") for rank in (0, 1)]


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_two_ranks_hold_equal_tensors_after_every_phase_and_go_on_to_the_same_bits(tmp_path: Path) -> None:
    first, second = start(tmp_path / "whole", 5, NEVER)
    assert first["epochs"] == second["epochs"] == [1, 1, 1, 2]
    assert len(first["ends"]) == 4
    for one, other in zip(first["ends"], second["ends"], strict=True):
        assert equal(one, other)  # buffers too
    early, last = first["ends"][0], first["ends"][-1]
    moved = {name.rpartition(".")[0] for name, value in last.items() if not torch.equal(value, early[name])}
    assert moved >= {"blocks.0.0", "blocks.1.0", "blocks.2.0", "classifier.1"}
    broken = start(tmp_path / "parts", 5, 7)  # two steps an epoch and rank: inside the last phase
    assert [one["error"] for one in broken] == ["broken"] * 2
    for one, before in zip(start(tmp_path / "parts", 5, NEVER), (first, second), strict=True):
        assert equal(one["tensors"], before["tensors"])
        assert one["epochs"] == [1, 1, 1, 2] and one["metrics"] == before["metrics"]


@pytest.mark.slow
def test_ranks_that_drift_apart_are_found(tmp_path: Path) -> None:
    for one in start(tmp_path, 4, NEVER, "drift"):
        assert one["error"] == "after phase head the ranks differ in the weights of head"
