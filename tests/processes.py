"""Whether processes are there, and whether they end."""

import time
from contextlib import suppress
from pathlib import Path


def ended(process: int) -> bool:
    """Return whether a process ends within a moment."""
    deadline = time.monotonic() + 10
    while (there := Path(f"/proc/{process}").exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not there


def gone(folder: Path, seconds: float) -> bool:
    """Return whether all processes in a folder end in time; Ray's write over their names and environments."""
    deadline = time.monotonic() + seconds
    while (left := within(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not left


def within(folder: Path) -> list[Path]:
    """Return the processes whose working folder this is."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            found += [link] * (link.readlink() == folder)
    return found
