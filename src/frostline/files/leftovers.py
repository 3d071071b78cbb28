"""Temporary files and folders, and what of them killed processes left behind.

Their names say whose they are, so that a living process's are never taken for a dead one's: the machine, the process
and when it began.
"""

import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

from frostline.processes.lifetime import is_running, start_time

NAME = re.compile(r"\.?frost-([0-9a-f]{5})\.(\d+)\.(\d+)\.[0-9a-f]{4}(\..*)?")
FOREIGN_S = 3600.0
"""What another machine's process left is removed when it was not touched for this long."""


def name_temporary(path: Path) -> Path:
    """Return the path of a temporary sibling of ``path``, from which a rename never crosses a file system.

    What dead processes left there is removed first, once for each folder.
    """
    sweep_once(path.parent)
    return path.parent / f".{make_name()}.tmp"


@contextmanager
def temporary_folder_beside(path: Path) -> Iterator[Path]:
    """Give a new temporary folder beside ``path``, which is gone in the end unless it was moved away."""
    made = name_temporary(path)
    made.mkdir(parents=True)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def private_folder() -> Iterator[Path]:
    """Give a new folder on this machine, which no other user can enter, and which is gone in the end."""
    made = make_private_folder()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def make_private_folder(root: Path | None = None) -> Path:
    """Return a new folder on this machine, which no other user can enter; the caller removes it.

    It lies in the folder for temporary files, or in ``root``. Its name is short: a socket's path has room for 107
    characters.
    """
    root = root or Path(tempfile.gettempdir())
    sweep_once(root)
    made = root / make_name()
    made.mkdir(mode=0o700)
    return made


def sweep(folder: Path) -> None:
    """Remove from a folder what processes of this user that are gone have left in it; what cannot be removed stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = NAME.fullmatch(entry.name)
            if found is None or _is_living(Path(entry.path), found[1], int(found[2]), found[3]):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def sweep_once(folder: Path) -> None:
    """Sweep a folder in which this process is about to write, the first time that it does."""
    _sweep_once(os.fspath(folder.absolute()))


@cache
def _sweep_once(folder: str) -> None:
    sweep(Path(folder))


def make_name() -> str:
    """Return a new name for something temporary of this process; what follows it after a dot does not matter."""
    process = os.getpid()
    return f"frost-{_identify_machine()}.{process}.{start_time(process) or 0}.{secrets.token_hex(2)}"


def _is_living(path: Path, where: str, process: int, begun: str) -> bool:
    """Return whether what lies at a path may still be somebody's; of other users it always is."""
    try:
        if path.lstat().st_uid != os.geteuid():
            return True
    except FileNotFoundError:
        return True
    if where == _identify_machine():
        return is_running(process) and (start_time(process) or "0") == begun
    inside = path.glob("*") if path.is_dir() else ()
    return time.time() - max(find_last_change(one) for one in (path, *inside)) < FOREIGN_S


@cache
def _identify_machine() -> str:
    """Return what stands for this machine's process numbers: containers have their own, and a reboot begins anew."""
    words = [socket.gethostname()]
    with suppress(OSError):
        words += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return sha256(" ".join(words).encode()).hexdigest()[:5]


def find_last_change(path: Path) -> float:
    """Return when a file was changed last; now for one that is gone."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return time.time()
