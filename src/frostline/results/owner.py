"""Who owns a folder: one process at a time writes a run or a comparison."""

import itertools
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from frostline.files.atomic import WriteError, make_folder, name_write_errors, read_json
from frostline.processes.lifetime import is_running, start_time

OWNER = "owner.json"
WRITING_S = 5.0


def take_folder(folder: Path) -> bool:
    """Make this process the owner of a folder; return False while another living process on this machine is.

    Raises WriteError where the folder cannot be written.
    """
    path = folder / OWNER
    while True:
        try:
            _sign(path)
            return True
        except FileExistsError:
            if path.exists() and not is_owner_gone(path):
                return False
            with name_write_errors(path):
                _clear_away(path)


def _sign(path: Path) -> None:
    """Write an owner file that nobody else has written. Raises FileExistsError, and WriteError with nothing left."""
    try:
        with path.open("x") as file:
            json.dump({"host": socket.gethostname(), "pid": os.getpid(), "started": start_time(os.getpid())}, file)
    except FileExistsError:
        raise
    except OSError as error:
        path.unlink(missing_ok=True)
        raise WriteError(error.errno, error.strerror, str(path)) from error


def _clear_away(path: Path) -> None:
    """Remove the file of an owner that has died. One process at a time does so: it could be a new owner's by then."""
    turn = _turn(path.parent)
    try:
        turn.touch(exist_ok=False)
    except FileExistsError:
        if not _is_young(turn):
            turn.unlink(missing_ok=True)
        time.sleep(0.001)
        return
    if is_owner_gone(path):
        path.unlink()
    turn.unlink(missing_ok=True)


def release_folder(folder: Path) -> None:
    """Let another process have the folder."""
    (folder / OWNER).unlink(missing_ok=True)
    turn = _turn(folder)
    if not _is_young(turn):  # of a process that was killed while it had its turn
        turn.unlink(missing_ok=True)


def _turn(folder: Path) -> Path:
    return folder / f".{OWNER}.turn"


def is_owner_gone(path: Path) -> bool:
    """Return whether the process named in an owner file is gone; one on another machine is taken to be."""
    try:
        owner = read_json(path)
        if owner["host"] != socket.gethostname():
            return True
        return not is_running(owner["pid"]) or owner["started"] != start_time(owner["pid"])
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return not _is_young(path)  # it is being written at this moment, unless somebody was killed doing so


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < WRITING_S
    except FileNotFoundError:
        return True


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Own a folder, or while another process does its sibling with -2, -3 ... at its name's end; yield the path."""
    siblings = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    own = next(path for path in itertools.chain([folder], siblings) if _make_new(path))
    try:
        yield own
    finally:
        release_folder(own)


def _make_new(folder: Path) -> bool:
    make_folder(folder)
    return take_folder(folder)
