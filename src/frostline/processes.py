"""Processes of this machine: whether one is there, since when, and how it is ended."""

import os
from pathlib import Path


def running(process: int) -> bool:
    """Return whether a process is there, whoever's it is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def started(process: int) -> str | None:
    """Return when a process began, in the kernel's ticks: with it a number used again is told from its first owner."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # no /proc on this system
        return None


def end_group(leader: int, number: int) -> None:
    """Send a signal to a process and what it has started in its group: its data-loading processes."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        pass
