"""The ranks of a run: how many there are, which one this process is, and what each leaves behind."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.files import write_json

RANKS = "ranks"
"""The folder, in a run's own, with a status file for each rank."""


@dataclass(frozen=True)
class Place:
    """Which rank a process is: of all, and on its node."""

    rank: int
    local_rank: int
    world: int


def place() -> Place | None:
    """Return which rank this process is, as torchrun's variables say; None for one that was not started as a rank."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return Place(*(int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))


def variables(
    run: str, rank: int, local_rank: int, world: int, local_world: int, node: int, address: str, port: int
) -> dict[str, str]:
    """Return the environment of a rank that another launcher than torchrun starts: torchrun's own variables."""
    values = {
        "TORCHELASTIC_RUN_ID": run,
        "RANK": rank,
        "LOCAL_RANK": local_rank,
        "WORLD_SIZE": world,
        "LOCAL_WORLD_SIZE": local_world,
        "GROUP_RANK": node,
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }
    return {name: str(value) for name, value in values.items()}


def world_size(config: Mapping[str, Any]) -> int:
    """Return how many ranks a run has: one for each device of each node."""
    return config["trainer"].get("devices", 1) * config["trainer"].get("num_nodes", 1)


def leave_status(folder: Path, rank: int, status: Mapping[str, Any]) -> None:
    """Write how a rank of the run in ``folder`` ended: a record's fields, ``status`` and ``reason`` at least."""
    write_json(folder / RANKS / f"{rank}.json", {"time": time.time(), **status})


def read_statuses(folder: Path) -> dict[int, dict[str, Any]]:
    """Return how the ranks of a run ended, of those that left word."""
    return {int(path.stem): json.loads(path.read_text()) for path in sorted((folder / RANKS).glob("[0-9]*.json"))}


def clear_statuses(folder: Path) -> None:
    """Remove what the ranks of an earlier sitting left."""
    for path in (folder / RANKS).glob("[0-9]*.json"):
        path.unlink()


def origin(statuses: Mapping[int, Mapping[str, Any]], exits: Mapping[int, int]) -> int | None:
    """Return the rank whose failure came first, or None where none failed.

    ``exits`` has the exit codes of ranks that ended by themselves. One that died without a word comes before those
    that could still say that they had lost it; of those that left word, the earliest.
    """
    silent = [rank for rank, code in exits.items() if code and rank not in statuses]
    failed = {rank: status["time"] for rank, status in statuses.items() if status["status"] != "done"}
    if silent:
        return min(silent)
    return min(failed, key=lambda rank: failed[rank]) if failed else None
