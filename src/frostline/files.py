"""Files that are either whole or absent: atomic writes and SHA-256 sums."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from frostline.leftovers import beside

CHUNK = 1 << 20
NAMES = "surrogateescape"
"""How files are read and written that hold names: those are any bytes, and Python holds what is no UTF-8 so."""
IRREGULAR = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def write_atomic(path: Path, content: bytes | str, synced: bool = True) -> None:
    """Write ``content`` to ``path`` so that a reader, or a kill at any moment, sees the old file or the new one.

    The temporary file is a sibling; one that a kill leaves is swept away by the next process that writes there. File
    and directory are synced, unless ``synced`` is False: then a power cut may leave half of it. A text is written as
    ``encoded`` has it. Raises OSError (disk full, read-only); the earlier file is then intact.
    """
    data = encoded(content) if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if synced:
        sync_folder(path.parent)


def encoded(text: str) -> bytes:
    """Return a text in UTF-8, the names of files in it as the bytes that they are on the disk.

    Python holds bytes that are no UTF-8 as halves of characters (``surrogateescape``). A half that stands for no byte,
    as JSON can have it, is written as its escape.
    """
    try:
        return text.encode("utf-8", NAMES)
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def escaped(text: str) -> str:
    """Return a text with escapes, which are JSON's as well, for the bytes of names in it that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


def irregular(path: str | os.PathLike) -> str | None:
    """Return what stands at ``path`` instead of a file ("is a pipe, not a file"), links followed; None for a file.

    It is asked before anything is opened: a pipe would wait for a writer, a device may never end. What is not there,
    or not to be reached, is None as well, so that opening it says so.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # no such file; a NUL byte in its name
        return None
    if stat.S_ISREG(mode):
        return None
    return next((f"is a {noun}, not a file" for test, noun in IRREGULAR if test(mode)), "is not a file")


def sync_folder(path: Path) -> None:
    """Sync a directory, so that a rename in it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a plain value's canonical JSON in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
