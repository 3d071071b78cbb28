"""Processes of this machine: whether one is there, since when, and how it is ended."""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

EXIT_S = 5.0
"""What the handlers have together that libraries have registered to run when a process exits."""


def is_running(process: int) -> bool:
    """Return whether a process runs, whoever's it is; one that has ended, and is not yet waited for, does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    state = _status(process)
    return state is None or state[0] not in "ZX"


def start_time(process: int) -> str | None:
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


def exit_process(code: int) -> NoReturn:
    """End this process, which has said all that it had to say: its exit handlers run, for ``EXIT_S`` seconds at most.

    Python by itself would wait for them without end, then for threads, and then take torch's process group down, which
    waits for ranks that may never come: a collective over NCCL for half an hour, one over gloo for as long as it lasts.
    """
    _flush()
    threading.Thread(target=_leave_late, args=(code,), daemon=True).start()
    atexit._run_exitfuncs()  # what a handler raises is printed
    _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody may be left to read it
            stream.flush()


def _leave_late(code: int) -> NoReturn:
    time.sleep(EXIT_S)
    os._exit(code)


def end_group(leader: int, number: int) -> None:
    """Send a signal to a process and what it has started in its group: its data-loading processes."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        pass
