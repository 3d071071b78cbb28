"""Whatever of the pool's processes is killed, the command goes on or ends in time, and every run has its record."""

import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
from tests import configs
from tests.configs import plain_run
from tests.tiny import RUN
from tests.worker_processes import ended

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.launchers.base import Job
from frostline.launchers.dispatch import dispatch
from frostline.launchers.pool.launcher import Pool
from frostline.launchers.pool.slot import Slot
from frostline.results.store import read_record

SMALL = [*RUN, "freeze=full", "epochs=1"]
LIMIT_S, ENDS_S = 15, 60.0
pytestmark = pytest.mark.filterwarnings("ignore:resource_tracker")


@pytest.fixture(autouse=True)
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let configs name the heads of tests/faulty.py, and workers find them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    allow(["faulty"])
    yield
    allow([])


def make(outputs: Path, *overrides: str) -> Run:
    return resolve(compose("run", [*SMALL, f"outputs={outputs}", *overrides]))


def hanging(outputs: Path) -> Job:
    config = make(outputs, f"launcher.timeout_s={LIMIT_S}")
    return Job("hanging", replace(config, head={"_target_": "faulty.Faulty", "how": "hang", "after": 2}))


def kill(pool: Pool, what: str) -> None:
    tracker = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    server = int(Path(f"/proc/{pool.slots[0].worker.value}/stat").read_text().rpartition(")")[2].split()[1])
    for name, process in (("tracker", tracker), ("server", server)):
        if name in what:
            os.kill(process, signal.SIGKILL)
            ended(process)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["the fork server", "the resource tracker"])
def test_the_pool_goes_on_where_one_of_its_helpers_is_killed(what: str, tmp_path: Path) -> None:
    """Promise 48. Runs that the fork server had started are lost with it, and say so."""
    good = [Job(f"good {seed}", make(tmp_path, f"seed={seed}")) for seed in range(3)]
    with configs.make("launcher/local", workers=2, threads=1) as pool:
        going = pool.run([hanging(tmp_path), *good])
        found = dict([first(next(going))])
        worker = next(slot.worker.value for slot, job in pool._running.items() if job.name == "hanging")
        killed = time.monotonic()
        kill(pool, what)
        found |= dict(map(first, going))
        assert time.monotonic() - killed < LIMIT_S + ENDS_S
        assert pool.call(math.gcd, 4, 6) == 2
    lost = "the process that starts workers was killed" if "server" in what else f"launcher.timeout_s={LIMIT_S}"
    assert found["hanging"]["status"] == "failed" and lost in found["hanging"]["reason"]
    assert ended(worker), "a run that is recorded as lost goes on"
    for name in ("good 0", "good 1", "good 2"):
        assert found[name]["status"] == "done" or lost in found[name]["reason"], found[name]["reason"]
    assert found["good 2"]["status"] == "done"
    assert [read_record(job.folder) for job in good] == [found[job.name] for job in good]


def first(end: tuple) -> tuple[str, dict]:
    job, outcome, _ = end
    return job.name, outcome.record


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [False, True], ids=["a warm worker", "a process of its own"])
def test_a_loader_that_hangs_and_does_not_listen_ends_its_run(fresh: bool, tmp_path: Path) -> None:
    """Promise 36, with nothing of it left."""
    config = make(tmp_path, "data.workers=1", "data.views=null", "data.timeout_s=3")
    config.augment = {"_target_": "faulty.Stuck"}
    began = time.monotonic()
    if fresh:
        record = dispatch(config).record
    else:
        with configs.make("launcher/local", workers=1, threads=1) as pool:
            ((_, outcome, _),) = pool.run([Job("stuck", config)])
            record = outcome.record
    assert time.monotonic() - began < ENDS_S
    assert record["status"] == "failed" and record["reason"].startswith("data.timeout_s: no batch came")
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in words(path)]


def words(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


class Dead:
    """A pool of pebble's whose threads have ended without a word."""

    active = False

    def schedule(self, *_: object, **__: object) -> None:
        raise RuntimeError("The Pool is not active")

    def stop(self) -> None: ...

    def join(self) -> None: ...


def test_work_whose_pool_breaks_again_and_again_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Dead] = []
    monkeypatch.setattr("frostline.launchers.pool.slot.ProcessPool", lambda *_: made.append(Dead()) or made[-1])
    monkeypatch.setattr("frostline.launchers.pool.slot.start_server", lambda variables: None)
    slot = Slot({}, 1, None, False)
    slot.begin(math.gcd, 4, 6)
    deadline = time.monotonic() + 10
    while not slot.ended():
        assert time.monotonic() < deadline
    assert len(made) == 3 and not slot.succeeded()
    assert "no process could be started" in str(slot.describe_end(Path(), plain_run()))
