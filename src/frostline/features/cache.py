"""The store of activations on disk: content-addressed, atomic, bounded and verified."""

import json
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from frostline.features.manifest import read_manifest
from frostline.files.atomic import WriteError, read_json, sha256_file, sha256_json, sync_folder, write_json
from frostline.files.leftovers import find_last_change, make_name, name_temporary, sweep, sweep_once

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
CONTENT = "activations-{:05d}.bin"
STALE_S = 20.0
"""A builder touches its claim while it lives; a claim left alone for this long belongs to a dead one."""


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
        return (
            f"{about['backbone']} at {about['cut']}, {about['split']} view {about['view']}, {about['samples']} samples"
        )

    @property
    def contents(self) -> list[Path]:
        """The files that hold it, one after the other: one for each rank that built it."""
        return [self.path / part["file"] for part in self.manifest["parts"]]


class Writer:
    """Writes one entry, or one rank's part of it, beside its place; the leader moves it there.

    Ranks that write the same entry have the same ``token``, which one of them made by ``make_name``.
    """

    def __init__(self, store: "Store", key: str, about: dict[str, Any], token: str | None = None, part: int = 0):
        self.store, self.key, self.about = store, key, about
        sweep_once(store.root)
        self.folder = store.root / f".{token or make_name()}.{key}.tmp"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name = CONTENT.format(part)
        self.file = (self.folder / self.name).open("wb")
        self.sum = sha256()
        self.size = 0

    def append(self, content: memoryview | bytes) -> None:
        """Add the next samples' bytes. Raises OSError when the disk is full."""
        self.file.write(content)
        self.sum.update(content)
        self.size += len(content)

    def finish(self, samples: int) -> dict[str, Any]:
        """Sync this part and return what the manifest says of it. Raises OSError when the disk is full."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return {"file": self.name, "bytes": self.size, "samples": samples, "sha256": self.sum.hexdigest()}

    def commit(self, parts: Sequence[dict[str, Any]], **more: Any) -> None:
        """Write the manifest of the finished parts and rename into place; another writer's finished entry wins."""
        manifest = {"about": self.about, "bytes": sum(part["bytes"] for part in parts), "parts": list(parts), **more}
        write_json(self.folder / MANIFEST, {**manifest, "sum": sha256_json(manifest)})
        place = self.store.root / self.key
        if place.exists() and self.store.find(self.key) is None:
            self.store.remove(self.key)
        try:
            self.folder.rename(place)
        except OSError:
            if self.store.find(self.key) is None:
                raise
            self.abandon()
        sync_folder(self.store.root)

    def abandon(self) -> None:
        """Remove what was written so far."""
        with suppress(OSError):  # closing writes what is left in the buffer, and the disk may be full
            self.file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Store:
    """All entries under ``root`` (``outputs/cache``).

    Correctness never rests on a lock: an entry appears by one rename and carries the SHA-256 of its
    content and of its manifest. Claims only keep two builders from doing the same work.
    """

    def __init__(self, root: Path):
        self.root = root

    def entries(self) -> list[Entry]:
        """Return every entry whose manifest is whole, the least recently used first."""
        found = [entry for key in self._keys() if (entry := self.find(key))]
        return sorted(found, key=lambda entry: entry.used)

    def _keys(self) -> list[str]:
        return sorted(path.parent.name for path in self.root.glob(f"[!.]*/{MANIFEST}"))

    def find(self, key: str) -> Entry | None:
        """Return the entry of ``key`` without looking at its content, or None: absent, or its manifest is damaged."""
        path = self.root / key / MANIFEST
        try:
            manifest, used = read_manifest(path), path.stat().st_mtime
        except (OSError, ValueError):
            return None
        return Entry(key, path.parent, manifest, used)

    def open(self, key: str) -> Entry | None:
        """Return the entry of ``key`` after checking its content, and mark it as used.

        Return None where it is absent, damaged (then it is removed, with a warning) or dropped by another process.
        """
        if not (self.root / key).exists():
            return None
        entry = self.find(key)
        if entry is None or not self.is_sound(entry):
            if self.remove(key):
                log.warning("The cache entry %s is damaged; it is built anew.", key)
            return None
        try:
            os.utime(entry.path / MANIFEST)
        except FileNotFoundError:
            return None
        return entry

    def is_sound(self, entry: Entry) -> bool:
        """Return whether the content is what the manifest says."""
        try:
            parts = list(zip(entry.contents, entry.manifest["parts"], strict=True))
            whole = all(path.stat().st_size == part["bytes"] for path, part in parts)
            return whole and all(sha256_file(path) == part["sha256"] for path, part in parts)
        except OSError:  # it is gone, or no file
            return False

    def verify(self) -> list[str]:
        """Return the keys of damaged entries, which are left in place."""
        return [key for key in self._keys() if (entry := self.find(key)) is None or not self.is_sound(entry)]

    def remove(self, key: str) -> bool:
        """Remove an entry in one step, as a reader sees it; return whether there was one. Raises WriteError."""
        trash = name_temporary(self.root / key)
        try:
            (self.root / key).rename(trash)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise WriteError(error.errno, error.strerror, str(self.root)) from error
        shutil.rmtree(trash, ignore_errors=True)
        return True

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
        """Remove what dead builders and removers left behind, and entries without a whole manifest."""
        sweep(self.root)
        for path in self.root.glob(".*.claim"):
            if _is_abandoned(path):
                path.unlink(missing_ok=True)
        for key in self._keys():
            if self.find(key) is None:
                self.remove(key)

    @contextmanager
    def claim(self, key: str, done: Callable[[], bool], wait: bool = True) -> Iterator[bool]:
        """Wait while another process builds ``key``, then hold the claim, which a thread keeps fresh.

        Returns from waiting as soon as ``done()`` holds, the claim is released, or its owner has been
        silent for ``STALE_S`` seconds or is known to be dead; so a killed builder delays the next by a
        bounded time only. Yields whether the caller's turn has come: without ``wait`` not while another is at it.
        """
        path = self.root / f".{key}.claim"
        self.root.mkdir(parents=True, exist_ok=True)
        turn = True
        while turn and not _create(path) and not done():
            if _is_abandoned(path):
                path.unlink(missing_ok=True)
            else:
                turn = wait
            time.sleep(0.1 if turn else 0)
        released = threading.Event()
        keeper = threading.Thread(target=_keep_fresh, args=(path, released), daemon=True)
        keeper.start()
        try:
            yield turn
        finally:
            released.set()
            keeper.join()
            if _owner(path) == _identify_self():
                path.unlink(missing_ok=True)


def _identify_self() -> list[str | int]:
    return [socket.gethostname(), os.getpid()]


def _create(path: Path) -> bool:
    try:
        with path.open("x") as file:
            json.dump(_identify_self(), file)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _keep_fresh(path: Path, released: threading.Event) -> None:
    while not released.wait(STALE_S / 4):
        if _owner(path) == _identify_self():
            with suppress(FileNotFoundError):
                os.utime(path)


def _owner(path: Path) -> list[str | int] | None:
    try:
        owner = read_json(path)
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, list) and [type(one) for one in owner] == [str, int] else None


def _is_abandoned(path: Path) -> bool:
    owner = _owner(path)
    if (
        owner
        and owner[0] == socket.gethostname()
        and not Path(f"/proc/{owner[1]}").exists()
        and Path("/proc/1").exists()
    ):
        return True
    return time.time() - find_last_change(path) > STALE_S
