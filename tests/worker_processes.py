"""Whether processes are there, and whether they end."""

import time
from contextlib import suppress
from pathlib import Path


def ended(process: int, seconds: float = 10) -> bool:
    """Return whether a process ends in time."""
    deadline = time.monotonic() + seconds
    while (there := Path(f"/proc/{process}").exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not there


def gone(folder: Path, seconds: float) -> bool:
    """Return whether all processes that work in a folder end in time."""
    deadline = time.monotonic() + seconds
    while (left := within(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not left


def within(folder: Path) -> list[Path]:
    """Return the processes whose working folder this is; Ray's write over their names and environments.

    What has ended, and is not yet waited for, has none.
    """
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            found += [link] * (link.readlink() == folder)
    return found
