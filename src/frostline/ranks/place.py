"""The ranks of a run: how many there are, which one this process is, and what each leaves behind."""

import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from frostline.config.schema import Run
from frostline.files.atomic import write_json

RANKS = "ranks"
"""The folder, in a run's own, with a status file for each rank."""
MEETING = "FROSTLINE_MEETING"
"""The variable that says where the ranks of a sitting meet: a file's URL, or an address's."""
SIOCGIFADDR = 0x8915
"""Linux's number for the question which address an interface has."""


@dataclass(frozen=True)
class Place:
    """Which rank a process is, of all and on its node, and where the ranks meet."""

    rank: int
    local_rank: int
    world: int
    meeting: str


def find_place() -> Place | None:
    """Return which rank this process is, as torchrun's variables say; None for one that was not started as a rank."""
    if MEETING not in os.environ:
        return None
    rank, local_rank, world = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
    return Place(rank, local_rank, world, os.environ[MEETING])


def meet_by_file(folder: Path) -> str:
    """Return the meeting point of ranks of one machine: a file in a folder that only this user can enter."""
    return (folder / "meeting").absolute().as_uri()


def meet_by_address(host: str, port: int) -> str:
    """Return the meeting point of ranks of several machines: an address of the one that has rank 0."""
    return f"tcp://{host}:{port}"


def rank_variables(
    run: str, rank: int, local_rank: int, world: int, local_world: int, node: int, meeting: str
) -> dict[str, str]:
    """Return the environment of a rank: torchrun's variables, which Lightning and torch know, and where ranks meet.

    Ranks that meet by a file are on one machine: what they open to each other stays within it. On several, gloo would
    take the address of the node's name, which many systems give as the loopback's; it takes the way to the meeting.
    """
    values = {
        "TORCHELASTIC_RUN_ID": run,
        "RANK": rank,
        "LOCAL_RANK": local_rank,
        "WORLD_SIZE": world,
        "LOCAL_WORLD_SIZE": local_world,
        "GROUP_RANK": node,
        MEETING: meeting,
    }
    if meeting.startswith("file:"):
        values |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), find_loopback())
    elif "GLOO_SOCKET_IFNAME" not in os.environ and (name := find_interface(urlsplit(meeting).hostname or "")):
        values["GLOO_SOCKET_IFNAME"] = name
    return {name: str(value) for name, value in values.items()}


def find_loopback() -> str:
    """Return the name of the interface that reaches nobody but this machine."""
    names = [name for _, name in socket.if_nameindex()]
    return next(name for name in ("lo", "lo0") if name in names)


def find_interface(host: str) -> str | None:
    """Return the name of the interface by which this machine speaks to a host; None where that cannot be found."""
    address = find_way(host)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # one without an address
                given = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(given[20:24]) == address:
                    return name
    return None


def find_way(host: str) -> str | None:
    """Return the address from which this machine speaks to a host, None for an unknown one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return None
        return probe.getsockname()[0]


def count_ranks(config: Run) -> int:
    """Return how many ranks a run has: one for each device of each node."""
    return config.trainer.get("devices", 1) * config.trainer.get("num_nodes", 1)


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


def find_first_failure(statuses: Mapping[int, Mapping[str, Any]], exits: Mapping[int, int]) -> int | None:
    """Return the rank whose failure came first, or None where none failed.

    ``exits`` has the exit codes of ranks that ended by themselves. A rank that died without a status comes first: the
    others failed because they lost it. Among the others the earliest failure is the one.
    """
    silent = [rank for rank, code in exits.items() if code and rank not in statuses]
    failed = {rank: status["time"] for rank, status in statuses.items() if status["status"] != "done"}
    if silent:
        return min(silent)
    return min(failed, key=lambda rank: failed[rank]) if failed else None
