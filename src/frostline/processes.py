"""Processes of this machine: whether one is there, since when, and how it is ended."""

import multiprocessing
import os
import signal
from pathlib import Path


def running(process: int) -> bool:
    """Return whether a process runs, whoever's it is; one that has ended, and is not yet waited for, does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    state = _status(process)
    return state is None or state[0] not in "ZX"


def started(process: int) -> str | None:
    """Return when a process began, in the kernel's ticks: with it a number used again is told from its first owner."""
    state = _status(process)
    return None if state is None else state[19]


def _status(process: int) -> list[str] | None:
    """Return what the kernel says of a process behind its name; None for none, and on a system without /proc."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def kill_children() -> None:
    """End the processes that this one has for itself, above all those that hang: Python would wait for them."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch takes a loader's end for an error of the run
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    signal.signal(signal.SIGCHLD, before)


def end_group(leader: int, number: int) -> None:
    """Send a signal to a process and what it has started in its group: its data-loading processes."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        pass
