"""Who owns a folder: one process at a time writes a run or a comparison."""

import itertools
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER = "owner.json"


def take(folder: Path) -> bool:
    """Make this process the owner of a folder; return False while another living process on this machine is."""
    path = folder / OWNER
    while True:
        try:
            with path.open("x") as file:
                json.dump({"host": socket.gethostname(), "pid": os.getpid(), "started": started(os.getpid())}, file)
            return True
        except FileExistsError:
            if alive(path):
                return False
            path.unlink(missing_ok=True)


def release(folder: Path) -> None:
    """Let another process have the folder."""
    (folder / OWNER).unlink(missing_ok=True)


def alive(path: Path) -> bool:
    """Return whether the process named in an owner file still runs; one on another machine is taken to be dead."""
    try:
        owner = json.loads(path.read_text())
        if owner["host"] != socket.gethostname():
            return False
        os.kill(owner["pid"], 0)
        return owner["started"] == started(owner["pid"])
    except (OSError, ValueError, KeyError):
        return False


def started(pid: int) -> str | None:
    """Return when a process began, in the kernel's ticks: with it a number used again is told from its first owner."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # no /proc on this system
        return None


@contextmanager
def owned(folder: Path) -> Iterator[Path]:
    """Own a folder, or while another process does its sibling with -2, -3 ... at its name's end; yield the path."""
    siblings = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    own = next(path for path in itertools.chain([folder], siblings) if _made(path))
    try:
        yield own
    finally:
        release(own)


def _made(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    return take(folder)
