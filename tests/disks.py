"""A small disk of a test's own, which it can fill."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A file system in memory of so many bytes, mounted at ``root``."""

    def __init__(self, root: Path):
        self.root, self.filler = root, root / "filler"

    @property
    def free(self) -> int:
        """Bytes that a file could still take."""
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    def leave(self, size: int) -> None:
        """Fill the disk, or make room on it, until ``size`` bytes are free."""
        self.filler.touch()
        used = self.filler.stat().st_size + self.free - size
        os.truncate(self.filler, 0)
        self.filler.write_bytes(bytes(max(used, 0)))


@contextmanager
def small_disk(root: Path, size: int) -> Iterator[Disk]:
    """Mount a disk of ``size`` bytes for a while; skip the test where that is not allowed."""
    root.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(root)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(root)
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)
