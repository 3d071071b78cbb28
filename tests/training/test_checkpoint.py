"""Checkpoints: the old one or the new one loads, after any kill, on a full disk, and no pickle ever runs."""

import logging
import math
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from frostline.errors import UserError
from frostline.files.atomic import sha256_file, write_json
from frostline.training.checkpoint import MANIFEST, Checkpoints, decode, encode

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
TENSORS = st.builds(
    lambda shape, dtype: torch.arange(math.prod(shape)).reshape(shape).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.text() | st.integers()
VALUES = st.recursive(
    PLAIN | TENSORS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)

KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from frostline.training.checkpoint import Checkpoints

checkpoints, chance = Checkpoints(Path(sys.argv[1])), random.Random(0)

def state(epoch):
    return {"epoch": epoch, "weights": torch.full((500_000,), float(epoch))}

def check(least, most):
    found = Checkpoints(checkpoints.folder).load_latest()
    epoch = -1 if found is None else found["epoch"]
    assert least <= epoch <= most, (least, epoch, most)
    assert found is None or torch.equal(found["weights"], state(epoch)["weights"]), epoch
    return epoch

started = time.monotonic()
for last in range(3):
    checkpoints.save(last, state(last), best=False)
each = (time.monotonic() - started) / 3
for turn in range(40):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"r")
        for epoch in range(last + 1, last + 1000):
            os.write(write, b"<")
            checkpoints.save(epoch, state(epoch), best=False)
            os.write(write, b">")
    os.close(write)
    assert os.read(read, 1) == b"r"
    os.read(read, 1)
    time.sleep(chance.uniform(0, 3 * each))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    last = check(last + told.count(b">"), last + 1 + told.count(b"<"))
checkpoints.save(last + 1, state(last + 1), best=False)
print(check(last + 1, last + 1))
"""


def same(one: Any, other: Any) -> bool:
    """Whether two nested values are equal, NaN included."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_encoded_comes_back(tmp_path_factory: pytest.TempPathFactory, state: dict[Any, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "state.safetensors"
    path.write_bytes(encode(state))
    assert same(decode(path), state)


def test_tensors_that_share_memory_come_back_apart(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    (tmp_path / "file").write_bytes(encode({"a": whole, "b": whole[:, 1], "c": whole.t(), "d": [whole, (1, 2)]}))
    found = decode(tmp_path / "file")
    assert torch.equal(found["b"], whole[:, 1]) and torch.equal(found["c"], whole.t()) and found["d"][1] == [1, 2]


def test_an_optimizer_comes_back(tmp_path: Path) -> None:
    parameters = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.AdamW([{"params": [each], "name": f"{each.ndim}"} for each in parameters], lr=0.1)
    torch.stack([each.sum() for each in parameters]).sum().backward()
    optimizer.step()
    (tmp_path / "file").write_bytes(encode(optimizer.state_dict()))
    other = torch.optim.AdamW([{"params": [each], "name": f"{each.ndim}"} for each in parameters], lr=0.5)
    other.load_state_dict(decode(tmp_path / "file"))
    for parameter in parameters:
        for name, value in optimizer.state[parameter].items():
            assert torch.equal(other.state[parameter][name], value), name
    assert [group["lr"] for group in other.param_groups] == [0.1, 0.1]


def state(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "weights": torch.full((1000,), float(epoch))}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new" / "folder")
    assert checkpoints.load_latest() is None and checkpoints.load_best() is None
    for epoch in range(6):
        checkpoints.save(epoch, state(epoch), best=epoch in (0, 2))
    expected = [f"epoch-{epoch:05d}.safetensors" for epoch in (2, 4, 5)] + [MANIFEST]
    assert files(checkpoints.folder) == expected
    best, latest = checkpoints.load_best(), Checkpoints(checkpoints.folder).load_latest()
    assert best is not None and best["epoch"] == 2 and latest is not None and latest["epoch"] == 5
    checkpoints.clear()
    assert files(checkpoints.folder) == [] and checkpoints.load_latest() is None


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "one bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_newest_one_is_said_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for epoch in range(3):
        checkpoints.save(epoch, state(epoch), best=epoch == 2)
    damage(tmp_path / "epoch-00002.safetensors")
    with caplog.at_level(logging.WARNING):
        latest = checkpoints.load_latest()
    assert latest is not None and latest["epoch"] == 1
    assert "epoch-00002.safetensors is damaged or missing; falling back" in caplog.text
    assert checkpoints.load_best() is None, "the best one is never replaced by another in silence"
    checkpoints.save(2, state(2), best=True)
    best = checkpoints.load_best()
    assert best is not None and best["epoch"] == 2


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, state(0), best=True)
    for text in ("", "[]", '{"saved', "{}", "null"):
        (tmp_path / MANIFEST).write_text(text)
        with pytest.raises(UserError, match=f"{MANIFEST} is damaged.*force=true"):
            checkpoints.load_latest()
    assert (tmp_path / "epoch-00000.safetensors").exists()


def test_forty_kills_while_writing_lose_nothing(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "checkpoints")],
        env={**os.environ, "TMPDIR": str(elsewhere), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10, "some of the forty got an epoch further, others were killed on the way"
    assert len(files(tmp_path / "checkpoints")) == 3, "two checkpoints, the manifest, and nothing half-written"
    assert files(elsewhere) == []


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """Let the system refuse to let any file grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("most", [0, 100, 4000])
def test_a_full_disk_leaves_the_earlier_ones_and_names_the_file(tmp_path: Path, most: int) -> None:
    checkpoints = Checkpoints(tmp_path)
    for epoch in range(3):
        checkpoints.save(epoch, state(epoch), best=epoch == 0)
    before = {name: sha256_file(tmp_path / name) for name in files(tmp_path)}
    with full_disk(most), pytest.raises(OSError, match="too large while writing a checkpoint.*epoch-00003.safetensors"):
        checkpoints.save(3, state(3), best=True)
    assert {name: sha256_file(tmp_path / name) for name in files(tmp_path)} == before
    latest = checkpoints.load_latest()
    assert latest is not None and latest["epoch"] == 2


class Canary:
    """Something that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_is_refused_and_never_runs(tmp_path: Path, kind: str) -> None:
    path, canary = tmp_path / "epoch-00000.safetensors", tmp_path / "canary"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Canary(canary)))
    else:
        torch.save({"state": Canary(canary)}, path)
    row = {"epoch": 0, "file": path.name, "sha256": sha256_file(path), "best": True}
    write_json(tmp_path / MANIFEST, {"saved": [row]})
    for load in (Checkpoints(tmp_path).load_latest, Checkpoints(tmp_path).load_best, lambda: decode(path)):
        with pytest.raises(UserError, match="epoch-00000.safetensors is not a Frostline checkpoint"):
            load()
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists(), "the canary sings where it is let"


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "file.safetensors")
    with pytest.raises(UserError, match="is not a Frostline checkpoint"):
        decode(tmp_path / "file.safetensors")
