"""The store: entries are whole or absent, whoever writes, reads, dies or damages them meanwhile."""

import json
import logging
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.features.cache import MANIFEST, STALE_S, Entry, Store, Writer
from frostline.files.leftovers import make_name

ABOUT = {"backbone": "b", "cut": "c", "split": "train", "view": 0, "samples": 2}
FULL_DISK = Callable[[int], AbstractContextManager[None]]


def put(store: Store, key: str, size: int = 1000, used: float | None = None) -> Entry:
    """Write an entry, used last at the time ``used``."""
    writer = Writer(store, key, ABOUT)
    writer.append(random.Random(key).randbytes(size))
    writer.commit([writer.finish(1)], dtype="uint8")
    entry = store.find(key)
    assert entry is not None
    if used is not None:
        os.utime(entry.path / MANIFEST, (used, used))
    return entry


def left(root: Path) -> list[str]:
    """The names of all hidden things under a store's root."""
    return sorted(path.name for path in root.glob(".*"))


def damage_content(entry: Entry) -> None:
    data = bytearray(entry.contents[0].read_bytes())
    data[517] ^= 4
    entry.contents[0].write_bytes(data)


DAMAGES: dict[str, Callable[[Entry], object]] = {
    "content cut short": lambda entry: os.truncate(entry.contents[0], 400),
    "one bit of content": damage_content,
    "content gone": lambda entry: entry.contents[0].unlink(),
    "manifest cut short": lambda entry: os.truncate(entry.path / MANIFEST, 40),
    "manifest empty": lambda entry: os.truncate(entry.path / MANIFEST, 0),
    "manifest of another kind": lambda entry: (entry.path / MANIFEST).write_text("[]"),
    "manifest is no text": lambda entry: (entry.path / MANIFEST).write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found_said_and_made_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Entry], object]
) -> None:
    store = Store(tmp_path)
    whole, broken = put(store, "whole"), put(store, "broken")
    assert store.verify() == []
    damage(broken)
    assert store.verify() == ["broken"]
    assert store.verify() == ["broken"], "verify changes nothing"
    with caplog.at_level(logging.WARNING):
        assert store.open("broken") is None
    assert "broken is damaged" in caplog.text
    assert store.open("whole") is not None and whole.contents[0].exists()
    put(store, "broken")
    assert store.verify() == [] and store.open("broken") is not None


def test_a_writer_replaces_an_entry_without_a_manifest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (put(store, "key").path / MANIFEST).unlink()
    assert store.open("key") is None
    put(store, "key")
    (put(store, "other").path / MANIFEST).unlink()
    put(store, "other")
    assert store.verify() == [] and {entry.key for entry in store.entries()} == {"key", "other"}


def test_every_bit_of_a_manifest_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = put(store, "key")
    text = (entry.path / MANIFEST).read_bytes()
    for bit in range(0, len(text) * 8):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        (entry.path / MANIFEST).write_bytes(flipped)
        found = store.find("key")
        assert found is None or found.manifest == entry.manifest, bytes(flipped)
    (entry.path / MANIFEST).write_bytes(text)
    assert store.verify() == []


def test_a_silent_builder_on_another_machine_is_waited_for_within_the_bound(tmp_path: Path) -> None:
    claim = tmp_path / ".key.claim"
    claim.write_text(json.dumps(["elsewhere", os.getpid()]))
    silent_since = time.time() - STALE_S + 1.5
    os.utime(claim, (silent_since, silent_since))
    started = time.monotonic()
    with Store(tmp_path).claim("key", done=lambda: False):
        assert 1 < time.monotonic() - started < 4
        assert json.loads(claim.read_text()) == [socket.gethostname(), os.getpid()]
    assert left(tmp_path) == []


def test_a_live_builder_keeps_its_claim_however_long_a_batch_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.features.cache.STALE_S", 0.4)
    with Store(tmp_path).claim("key", done=lambda: False):
        for _ in range(10):
            time.sleep(0.1)
            assert time.time() - (tmp_path / ".key.claim").stat().st_mtime < 0.4


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, full_disk: FULL_DISK) -> None:
    store = Store(tmp_path)
    put(store, "before")
    for most in (0, 10, 5000, 200_000):
        with full_disk(most), pytest.raises(OSError), store.claim("key", done=lambda: False):
            writer = Writer(store, "key", ABOUT)
            try:
                for _ in range(100):
                    writer.append(bytes(3000))
                writer.commit([writer.finish(1)])
            finally:
                writer.abandon()
        assert [path.name for path in tmp_path.iterdir()] == ["before"], most
    assert store.verify() == []


sizes = st.lists(st.integers(1, 50), min_size=1, max_size=8)


@settings(deadline=None)
@given(sizes=sizes, order=st.randoms(use_true_random=False), most=st.integers(0, 250), kept=st.sets(st.integers(0, 7)))
def test_pruning_drops_the_least_recently_used_and_no_more_than_needed(
    sizes: list[int], order: random.Random, most: int, kept: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        used = list(range(len(sizes)))
        order.shuffle(used)
        for place, size in enumerate(sizes):
            put(store, f"{place}", size, 1e9 + used[place])
        keep = frozenset(f"{place}" for place in kept)
        dropped = store.prune(most, keep)
        oldest_first = [f"{place}" for place in sorted(range(len(sizes)), key=used.__getitem__) if place not in kept]
        assert dropped == oldest_first[: len(dropped)], "the least recently used go first, and never those to keep"
        total = sum(entry.bytes for entry in store.entries())
        assert total == sum(size for place, size in enumerate(sizes) if f"{place}" not in dropped)
        assert total <= most or dropped == oldest_first
        assert not dropped or total + sizes[int(dropped[-1])] > most, "none is dropped without need"
        assert left(store.root) == []


def test_opening_counts_as_use(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for place, key in enumerate(("old", "middle", "new")):
        put(store, key, used=1e9 + place)
    assert store.open("old") is not None
    assert store.prune(1000) == ["middle", "new"]


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dead, living = Writer(store, "dead", ABOUT), Writer(store, "living", ABOUT)
    for writer in (dead, living):
        writer.append(b"half")
        writer.file.flush()
    where, _, rest = make_name().split(".", 2)
    left = dead.folder.rename(tmp_path / f".{where}.4194305.{rest}.dead.tmp")
    (tmp_path / ".gone.claim").write_text(json.dumps([socket.gethostname(), 4194305]))
    (tmp_path / ".held.claim").write_text('["elsewhere", 1]')
    os.truncate(put(store, "unreadable").path / MANIFEST, 10)
    assert store.prune(10**9) == [] and not left.exists()
    assert set(tmp_path.iterdir()) == {living.folder, tmp_path / ".held.claim"}
    living.commit([living.finish(1)])
    assert store.verify() == [] and {entry.key for entry in store.entries()} == {"living"}
    dead.abandon()


def test_a_store_that_is_not_there_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    assert store.entries() == [] == store.verify() == store.prune(0) and store.open("key") is None
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "note.txt").write_text("not an entry")
    (tmp_path / "cache" / "folder").mkdir()
    assert store.entries() == [] == store.verify() == store.prune(0)
    assert put(store, "key").description == "b at c, train view 0, 2 samples"
