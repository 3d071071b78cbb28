"""The store of activations on disk: content-addressed, atomic, bounded and verified."""

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from frostline.files import sha256_file, sync_folder, write_json

MANIFEST = "manifest.json"
CONTENT = "activations.bin"
STALE_S = 20.0
"""A builder touches its claim after every batch; a claim left alone for this long belongs to a dead one."""


@dataclass(frozen=True)
class Entry:
    """One entry: the activations of one split at one cut, for one view."""

    key: str
    path: Path
    manifest: dict[str, Any]
    used: float

    @property
    def bytes(self) -> int:
        return int(self.manifest["bytes"])

    @property
    def description(self) -> str:
        about = self.manifest["about"]
        return f"{about['backbone']} at {about['cut']}, {about['split']} view {about['view']}, {about['samples']} samples"

    @property
    def content(self) -> Path:
        return self.path / CONTENT


class Writer:
    """Writes one entry beside its place and moves it there when it is whole."""

    def __init__(self, store: "Store", key: str, about: dict[str, Any]):
        self.store, self.key, self.about = store, key, about
        self.folder = store.root / f".{key}.{uuid.uuid4().hex[:8]}.tmp"
        self.folder.mkdir(parents=True)
        self.file = (self.folder / CONTENT).open("wb")
        self.sum = sha256()
        self.size = 0

    def append(self, content: memoryview | bytes) -> None:
        """Add the next samples' bytes. Raises OSError when the disk is full."""
        self.file.write(content)
        self.sum.update(content)
        self.size += len(content)

    def commit(self, **more: Any) -> None:
        """Sync, write the manifest, and rename into place; another writer's finished entry wins."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        manifest = {"about": self.about, "bytes": self.size, "sha256": self.sum.hexdigest(), **more}
        write_json(self.folder / MANIFEST, manifest)
        try:
            self.folder.rename(self.store.root / self.key)
        except OSError:
            if self.store.find(self.key) is None:
                raise
            self.abandon()
        sync_folder(self.store.root)

    def abandon(self) -> None:
        """Remove what was written so far."""
        self.file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Store:
    """All entries under ``root`` (``outputs/cache``).

    Correctness never rests on a lock: an entry appears by one rename and carries the SHA-256 of its
    content. Claims only keep two builders from doing the same work.
    """

    def __init__(self, root: Path):
        self.root = root

    def entries(self) -> list[Entry]:
        """Return every whole entry, the least recently used first."""
        folders = [path for path in self.root.glob("*") if not path.name.startswith(".")]
        found = [entry for path in folders if (entry := self.find(path.name))]
        return sorted(found, key=lambda entry: entry.used)

    def find(self, key: str) -> Entry | None:
        """Return the entry of ``key`` without looking at its content, or None."""
        path = self.root / key / MANIFEST
        try:
            return Entry(key, path.parent, json.loads(path.read_text()), path.stat().st_mtime)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (json.JSONDecodeError, UnicodeDecodeError):
            self.remove(key)
            return None

    def open(self, key: str) -> Entry | None:
        """Return the entry of ``key`` after checking its content, and mark it as used; a damaged one is removed."""
        entry = self.find(key)
        if entry is None:
            return None
        if not self.sound(entry):
            self.remove(key)
            return None
        os.utime(entry.path / MANIFEST)
        return entry

    def sound(self, entry: Entry) -> bool:
        """Return whether the content is what the manifest says."""
        try:
            whole = entry.content.stat().st_size == entry.bytes
            return whole and sha256_file(entry.content) == entry.manifest["sha256"]
        except (FileNotFoundError, KeyError):
            return False

    def verify(self) -> list[str]:
        """Return the keys of damaged entries, which are left in place."""
        return [entry.key for entry in self.entries() if not self.sound(entry)]

    def remove(self, key: str) -> None:
        """Remove an entry in one step, as a reader sees it."""
        trash = self.root / f".{key}.{uuid.uuid4().hex[:8]}.trash"
        try:
            (self.root / key).rename(trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)

    def prune(self, max_bytes: int, keep: frozenset[str] = frozenset()) -> list[str]:
        """Drop the least recently used entries, but none of ``keep``, until the rest fits; return their keys."""
        self._sweep()
        entries = self.entries()
        total = sum(entry.bytes for entry in entries)
        dropped = []
        for entry in entries:
            if total <= max_bytes:
                break
            if entry.key not in keep:
                self.remove(entry.key)
                dropped.append(entry.key)
                total -= entry.bytes
        return dropped

    def _sweep(self) -> None:
        """Remove what dead builders left behind (older than an hour)."""
        for path in self.root.glob(".*.tmp"):
            if time.time() - _touched(path) > 3600:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.root.glob(".*.trash"):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def claim(self, key: str, done: Callable[[], bool]) -> Iterator[Callable[[], None]]:
        """Wait while another process builds ``key``; yield a heartbeat to call while building.

        Returns from waiting as soon as ``done()`` holds, the claim is released, or its owner has been
        silent for ``STALE_S`` seconds or is known to be dead; so a killed builder delays the next by a
        bounded time only.
        """
        path = self.root / f".{key}.claim"
        self.root.mkdir(parents=True, exist_ok=True)
        while not _create(path) and not done():
            if _abandoned(path):
                path.unlink(missing_ok=True)
            time.sleep(0.1)
        try:
            yield lambda: os.utime(path) if path.exists() else None
        finally:
            if _owner(path) == _me():
                path.unlink(missing_ok=True)


def _me() -> list[str | int]:
    return [socket.gethostname(), os.getpid()]


def _create(path: Path) -> bool:
    try:
        with path.open("x") as file:
            json.dump(_me(), file)
    except FileExistsError:
        return False
    return True


def _owner(path: Path) -> list[str | int] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _abandoned(path: Path) -> bool:
    owner = _owner(path)
    if owner and owner[0] == socket.gethostname() and not Path(f"/proc/{owner[1]}").exists() and Path("/proc/1").exists():
        return True
    return time.time() - _touched(path) > STALE_S


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
