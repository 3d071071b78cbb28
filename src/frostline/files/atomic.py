"""Files that are either whole or absent: atomic writes, bounded reads and SHA-256 sums."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frostline.files.leftovers import name_temporary

CHUNK = 1 << 20
MOST_BYTES = 1 << 26
"""The largest file that is read at once: a record with the confusion matrix of 2,000 classes fits."""
MOST_DEPTH = 64
"""The deepest nesting that is read of JSON: what goes through it afterwards needs no bound of its own."""
RESERVE = ".reserve"
RESERVE_BYTES = 1 << 16
"""Room for a record with the confusion matrix of 80 classes."""
NESTED = (dict, list)
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the system says of a disk that is full or read-only, whatever library it says it to."""
NAMES = "surrogateescape"
"""How files are read and written that hold names: those are any bytes, and Python holds what is no UTF-8 so."""
IRREGULAR = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


class WriteError(OSError):
    """The system refused to write a file or to make a folder: which, and why (a full disk, a read-only one)."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be written ({self.strerror})"


@contextmanager
def name_write_errors(path: Path, others_too: bool = False) -> Iterator[None]:
    """Raise a WriteError that names ``path`` for whatever the system refuses meanwhile.

    With ``others_too`` other code is at work as well, and only what is a disk's fault for sure is taken for one.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        if others_too and error.errno not in DISK:
            raise
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


def make_folder(path: Path) -> None:
    """Make a folder and those it lies in, where they are missing. Raises WriteError."""
    with name_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def write_atomic(path: Path, content: bytes | str, synced: bool = True) -> None:
    """Write ``content`` to ``path`` so that a reader, or a kill at any moment, sees the old file or the new one.

    The temporary file is a sibling; one that a kill leaves is swept away by the next process that writes there. File
    and directory are synced, unless ``synced`` is False: then a power cut may leave half of it. A text is written as
    ``encoded`` has it. Raises WriteError (disk full, read-only); the earlier file is then intact.
    """
    data = encode_names(content) if isinstance(content, str) else content
    with name_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = name_temporary(path)
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


def reserve_room(folder: Path) -> None:
    """Keep room on the disk for the last words of what works in ``folder``. Raises WriteError where there is none."""
    path = folder / RESERVE
    if not path.exists():
        write_atomic(path, os.urandom(RESERVE_BYTES))  # zeros could take no room at all


def give_up_reserve(folder: Path) -> None:
    """Give back what ``reserve`` took."""
    with suppress(OSError):  # on a disk that is read-only by now
        (folder / RESERVE).unlink()


def encode_names(text: str) -> bytes:
    """Return a text in UTF-8, the names of files in it as the bytes that they are on the disk.

    Python holds bytes that are no UTF-8 as halves of characters (``surrogateescape``). A half that stands for no byte,
    as JSON can have it, is written as its escape.
    """
    try:
        return text.encode("utf-8", NAMES)
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def escape_bytes(text: str) -> str:
    """Return a text with escapes, which are JSON's as well, for the bytes of names in it that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


def describe_irregular(path: str | os.PathLike) -> str | None:
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


def read_bytes(path: str | os.PathLike, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file.

    Raises OSError, for what is no file and for more than ``most`` bytes as well. No more is read than the file's
    size says, which for the endless ones of the kernel is nothing.
    """
    if (what := describe_irregular(path)) is not None:
        raise OSError(f"it {what}")
    with open(path, "rb", opener=_open_at_once) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(f"it holds {size:,} bytes, and no more than {most:,} are read")
        return file.read(size)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # were it a pipe by now, this would not wait


def read_json(path: str | os.PathLike, most: int = MOST_BYTES) -> Any:
    """Return what a file of JSON says. Raises OSError as ``read_bytes``, and ValueError for what is no such JSON."""
    try:
        value = json.loads(read_bytes(path, most).decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_DEPTH):
        if not level:
            return value
        level = [
            inner for one in level for inner in (one.values() if type(one) is dict else one) if type(inner) in NESTED
        ]
    raise ValueError("it is nested too deeply")


def sync_folder(path: Path) -> None:
    """Sync a directory, so that a rename in it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal. Raises OSError, for what is no file as well."""
    if (what := describe_irregular(path)) is not None:
        raise OSError(f"{path} {what}")
    total = hashlib.sha256()
    with open(path, "rb", opener=_open_at_once) as file:
        while os.fstat(file.fileno()).st_size and (chunk := file.read(CHUNK)):
            total.update(chunk)
    return total.hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a plain value's canonical JSON in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
