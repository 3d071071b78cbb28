"""Runs that tests do themselves: a tiny network on very few digits, in this process."""

from pathlib import Path
from typing import Any

from tests.finished_runs import finished
from tests.tiny import NETWORK

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.results.store import run_folder, run_id

FEW = [*NETWORK, "data.size=32", "data.num_per_class=4", "epochs=2", "trainer.accelerator=cpu", "optimizer.lr=0.003"]


def make_run(outputs: Path, *overrides: str) -> tuple[Run, Path]:
    """Return the config of a run on very few digits, and its folder."""
    config = resolve(compose("run", [*FEW, "augment=none", f"outputs={outputs}", *overrides]))
    folder = run_folder(outputs, run_id(config))
    folder.mkdir(parents=True, exist_ok=True)
    return config, folder


def run(outputs: Path, *overrides: str) -> tuple[dict[str, Any], Path]:
    """Do such a run in this process; return its record and its folder."""
    return finished(make_run(outputs, *overrides)[0])
