"""The data index: what was learned of files, remembered while they are unchanged, so that none is read twice."""

import contextlib
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from frostline.data.threads import run_in_threads
from frostline.files.atomic import describe_irregular, sha256_file, write_atomic

log = logging.getLogger(__name__)
FORMAT = 1
MOST_SETS = 200
"""Places, such as data sets, that are remembered; the one not used for longest goes first."""

SPARE = 10_000
"""Files of a place that stay remembered beyond those that were asked for last."""

SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read is read again: some file systems count time in such steps."""

MANY = 5_000
"""Files whose first reading takes so long that a person is told of it."""

Known = dict[str, list[Any]]
"""By real path: size, modification time, change time, inode, when it was read, and the answers by question."""


def index_folder(outputs: Path) -> Path:
    """Return the folder of the data index below an output folder: in the cache, since all of it can be made anew."""
    return outputs / "cache" / "index"


class DataIndex:
    """What is known of the files of one ``place``, such as a data set's folder; without ``folder`` nothing is kept.

    Runs and ranks share it without locks: it is one file a place, replaced as a whole, with a SHA-256 in front. What
    one of two writers loses is only found out again. An answer holds while a file's size, modification time, change
    time and inode are the same: an edit that keeps its size and puts its time back has another change time.
    """

    def __init__(self, folder: Path | None = None, place: str = "") -> None:
        name = hashlib.sha256(os.fsencode(os.path.realpath(os.path.expanduser(place)))).hexdigest()[:16]
        self.path = None if folder is None else folder / f"{name}.json"
        self._learned: Known = {}
        self._asked: set[str] = set()

    def ask(self, question: str, paths: Sequence[str], answer: Callable[[list[str]], list[Any]]) -> list[Any]:
        """Return the answer for each file, in order; ``answer`` is called once, with those that are not known.

        ``question`` names all that an answer depends on beside the file; answers are plain values.
        """
        known = {} if self.path is None else read_index(self.path)
        stats = [_describe(path) for path in paths]
        found: dict[int, Any] = {}
        for place, (path, now) in enumerate(zip(paths, stats, strict=True)):
            answers = _answers(self._learned.get(path), now) or _answers(known.get(path), now)
            if answers is not None and question in answers:
                found[place] = answers[question]
        unknown = [place for place in range(len(paths)) if place not in found]
        self._asked.update(paths)
        if unknown:
            read_at = time.time_ns()
            found |= dict(zip(unknown, answer([paths[place] for place in unknown]), strict=True))
            for place in unknown:
                self._learn(known, paths[place], stats[place], read_at, question, found[place])
            self._save(known)
        return [found[place] for place in range(len(paths))]

    def _learn(
        self, known: Known, path: str, before: list[int] | None, read_at: int, question: str, answer: Any
    ) -> None:
        """Remember an answer, unless the file changed while it was read."""
        if before is None or _describe(path) != before:
            return
        answers = _answers(self._learned.get(path), before) or _answers(known.get(path), before) or {}
        self._learned[path] = [*before, read_at, {**answers, question: answer}]

    def _save(self, known: Known) -> None:
        """Write what is known by now, by all processes; the index is a help, so a full disk only costs its help."""
        if self.path is None or not self._learned:
            return
        merged = {**known, **read_index(self.path), **self._learned}
        own = {path: entry for path, entry in merged.items() if path in self._asked}
        others = [path for path in merged if path not in own][-SPARE:]
        content = json.dumps({"format": FORMAT, "files": {**{path: merged[path] for path in others}, **own}}).encode()
        try:
            line = hashlib.sha256(content).hexdigest().encode() + b"\n"
            write_atomic(self.path, line + content, synced=False)  # a power cut may leave half: it has another SHA-256
            _bound(self.path.parent)
        except OSError as error:
            log.debug("The data index %s cannot be written (%s).", self.path, error)


def ask_each(index: DataIndex, question: str, paths: Sequence[str], answer: Callable[[str], Any]) -> list[Any]:
    """Return ``answer`` of each file, in order, as ``DataIndex.ask`` does; threads find what is not known."""
    return index.ask(question, paths, lambda unknown: run_in_threads(answer, unknown))


def read_digests(index: DataIndex, paths: Sequence[str]) -> list[str]:
    """Return the SHA-256 of each file's content, or why it cannot be read."""

    told = len(paths) < MANY or index.path is None

    def digest(path: str) -> str:
        nonlocal told
        if not told:
            told = True
            log.warning(
                "Reading %s files for the first time; they are known again while they are unchanged.", len(paths)
            )
        try:
            return describe_irregular(path) or sha256_file(Path(path))
        except OSError as error:
            return f"cannot be read ({error.strerror})"

    return ask_each(index, "sha256", paths, digest)


def read_index(path: Path) -> Known:
    """Return what a file of the index holds: nothing where it is not there, damaged, or of another version."""
    try:
        now = path.stat()
    except OSError:
        return {}
    return _parse(path, now.st_mtime_ns, now.st_ino, now.st_size) if stat.S_ISREG(now.st_mode) else {}


@lru_cache(maxsize=4)
def _parse(path: Path, modified: int, inode: int, size: int) -> Known:
    """Parse a file of the index; one that was replaced has another inode or time. Nobody changes what is returned."""
    try:
        line, _, content = path.read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != line:
            return {}
        found = json.loads(content)
        return found["files"] if found["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _describe(path: str) -> list[int] | None:
    """Return what a file's answers hold for, or None for what is no regular file."""
    try:
        now = os.stat(path)
    except OSError:
        return None
    return [now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino] if stat.S_ISREG(now.st_mode) else None


def _answers(entry: list[Any] | None, now: list[int] | None) -> dict[str, Any] | None:
    """Return what an entry says of a file that is as it was, and had not changed just before it was read."""
    if entry is None or now is None or entry[:4] != now or entry[4] - entry[2] < SETTLED_NS:
        return None
    return entry[5]


def _bound(folder: Path) -> None:
    """Forget the places that were not written for longest, beyond ``MOST_SETS``."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    for file in files[:-MOST_SETS]:
        with contextlib.suppress(OSError):
            file.unlink()
