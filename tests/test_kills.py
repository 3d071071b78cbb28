"""Aimed kills: in the middle of a write, 40 times each; the old content is there or the new, never half (promise 4).

The write of a checkpoint has its own in tests/training/test_checkpoint.py.
"""

import subprocess
import sys
from pathlib import Path

import pytest

KILLED = """
import os, random, signal, sys, time
from pathlib import Path

folder, chance = Path(sys.argv[1]), random.Random(0)
exec(sys.argv[2])  # write(turn), and read(), which returns the turn that is there

write(0)
started = time.monotonic()
for turn in range(1, 4):
    write(turn)
each, last, torn = (time.monotonic() - started) / 3, 3, 0
for kill in range(40):
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        for turn in range(last + 1, last + 100_000):
            os.write(write_end, b"<")
            write(turn)
            os.write(write_end, b">")
        os._exit(1)
    os.close(write_end)
    assert os.read(read_end, 1) == b"<"
    time.sleep((kill / 40 + chance.uniform(0, 2)) * each)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as pipe:
        told = b"<" + pipe.read()
    torn += told.endswith(b"<")
    found = read()
    assert last + told.count(b">") <= found <= last + told.count(b"<"), (last, found, told[-10:])
    last = found
write(last + 1)
assert read() == last + 1
print(torn)
"""
RECORD = """
from frostline.results.record import Record
from frostline.results.store import read_record

def write(turn):
    Record("r", "failed", {"seed": turn}, "x" * 200_000, epochs=turn).write(folder)

def read():
    found = read_record(folder)
    assert found["config"]["seed"] == found["epochs"] and len(found["reason"]) == 200_000
    return found["epochs"]
"""
ENTRY = """
from frostline.features.cache import Store, Writer
store = Store(folder)
about = {"backbone": "b", "cut": "c", "split": "train", "view": 0, "samples": 1}

def write(turn):
    writer = Writer(store, f"key{turn}", about)
    writer.append(turn.to_bytes(4, "big") * 50_000)
    writer.commit([writer.finish(1)])

def read():
    entries = store.entries()
    assert not store.verify()
    turns = [int(entry.key[3:]) for entry in entries]
    for turn, entry in zip(turns[-3:], entries[-3:]):
        assert entry.contents[0].read_bytes() == turn.to_bytes(4, "big") * 50_000
    return max(turns)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", [RECORD, ENTRY], ids=["a record", "a cache entry"])
def test_a_kill_in_a_write_leaves_the_old_or_the_new(tmp_path: Path, what: str) -> None:
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "folder"), what, root],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10, "most kills hit a write"
