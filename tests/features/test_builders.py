"""Builders in processes of their own: side by side, killed, and watched by a reader."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frostline.features.cache import Store, Writer

BLOCK, BLOCKS = 1 << 15, 8
ABOUT = {"backbone": "b", "cut": "c", "split": "train", "view": 0, "samples": 1}

COMMON = """
import hashlib, sys, time
from contextlib import nullcontext
from pathlib import Path
from frostline.features.cache import Store, Writer

def blocks(key):
    return [hashlib.sha256(f"{key}/{place}".encode()).digest() * 1024 for place in range(8)]

store = Store(Path(sys.argv[1]))
about = {"backbone": "b", "cut": "c", "split": "train", "view": 0, "samples": 1}
"""
BUILD = """
if sys.argv[2] == "idle":
    Store.claim = lambda self, key, done: nullcontext()
print("ready", flush=True)
sys.stdin.readline()
built = 0
for turn in range(40):
    key = f"entry{turn}"
    with store.claim(key, done=lambda: store.find(key) is not None):
        if store.find(key) is None:
            writer = Writer(store, key, about)
            for block in blocks(key):
                writer.append(block)
                time.sleep(0.001)
            writer.commit([writer.finish(1)])
            built += 1
print(built, flush=True)
"""
CHURN = """
print("ready", flush=True)
least, most = time.monotonic() + 2, time.monotonic() + 60  # a reader on a busy machine may come late
while time.monotonic() < least or (time.monotonic() < most and not (store.root.parent / "seen").exists()):
    writer = Writer(store, "churned", about)
    for block in blocks("churned"):
        writer.append(block)
    writer.commit([writer.finish(1)])
    store.remove("churned")
"""
HOLD = """
with store.claim("held", done=lambda: False):
    writer = Writer(store, "held", about)
    writer.append(b"half of it")
    writer.file.flush()
    print("ready", flush=True)
    time.sleep(600)
"""


def start(code: str, root: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a process and wait until it is ready."""
    words = [sys.executable, "-c", COMMON + code, str(root), *arguments]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def content(key: str) -> bytes:
    """What the processes write as an entry's content."""
    blocks = (hashlib.sha256(f"{key}/{place}".encode()).digest() * (BLOCK // 32) for place in range(BLOCKS))
    return b"".join(blocks)


def left(root: Path) -> list[str]:
    """The names of all hidden things under a store's root."""
    return sorted(path.name for path in root.glob(".*"))


def finish(store: Store) -> None:
    """Write the entry that a builder in another process holds."""
    writer = Writer(store, "held", ABOUT)
    writer.append(b"all of it")
    writer.commit([writer.finish(1)])


@pytest.mark.parametrize("claims", ["working", "idle"])
def test_a_reader_sees_whole_entries_while_two_processes_build_them(tmp_path: Path, claims: str) -> None:
    store = Store(tmp_path / "cache")
    builders = [start(BUILD, store.root, claims) for _ in range(2)]
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("go\n")
        builder.stdin.flush()
    reads = 0
    while any(builder.poll() is None for builder in builders):
        for path in store.root.glob("entry*"):
            entry = store.open(path.name)
            assert entry is not None, "an entry that is visible is whole"
            assert entry.contents[0].read_bytes() == content(entry.key)
            reads += 1
    built = []
    for builder in builders:
        with builder:
            built.append(int(builder.communicate()[0]))
    assert [builder.returncode for builder in builders] == [0, 0]
    assert len(store.entries()) == 40 and store.verify() == [] and left(store.root) == []
    assert reads > 40
    assert sum(built) == 40 if claims == "working" else sum(built) > 40


def test_a_reader_survives_entries_that_are_dropped_under_its_hands(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    seen = 0
    with start(CHURN, store.root) as churner:
        while churner.poll() is None:
            entry = store.open("churned")
            assert store.verify() in ([], ["churned"])  # gone while it was read, at worst
            assert all(each.key == "churned" for each in store.entries())
            if entry is not None:
                seen += 1
                (tmp_path / "seen").touch()
                assert entry.manifest["parts"][0]["sha256"] == hashlib.sha256(content("churned")).hexdigest()
    assert churner.returncode == 0 and seen > 0


def test_a_builder_that_was_killed_holds_the_next_one_up_for_seconds_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with start(HOLD, store.root) as holder:
        assert len(left(store.root)) == 2, "a claim, and half an entry"
        holder.send_signal(signal.SIGKILL)
    assert store.find("held") is None
    started = time.monotonic()
    with store.claim("held", done=lambda: store.find("held") is not None):
        finish(store)
    assert time.monotonic() - started < 3
    assert store.open("held") is not None


def test_waiting_ends_when_the_entry_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with start(HOLD, store.root) as holder:
        finish(store)
        started = time.monotonic()
        with store.claim("held", done=lambda: store.find("held") is not None):
            assert time.monotonic() - started < 1
        assert ".held.claim" in left(store.root), "the claim is the other one's"
        holder.kill()
