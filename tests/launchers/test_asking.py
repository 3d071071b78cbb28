"""Launchers ask for the next run when there is room: one that is not known yet waits for another, and time ends all."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import configs
from tests.tiny import RUN

from frostline.config.compose import compose, resolve
from frostline.launchers.base import Job, Workers
from frostline.launchers.dispatch import Outcome
from frostline.results.store import read_record


class InTurn(Workers):
    """Two workers whose runs end one after the other, the first that was begun first; ``abandoned`` are the others."""

    def __init__(self) -> None:
        self._running: dict[str, Job] = {}
        self.begun: list[str] = []
        self.abandoned: list[str] = []

    def __enter__(self) -> "InTurn":
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def workers(self) -> int:
        return 2

    @property
    def running(self) -> list[tuple[Job, float]]:
        return [(job, 0.0) for job in self._running.values()]

    def call_many(self, times: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        raise AssertionError("nothing is called here")

    def _begin(self, job: Job) -> None:
        self.begun.append(job.name)
        self._running[job.name] = job

    def _collect_ended(self) -> list[tuple[Job, Outcome, float]]:
        job = self._running.pop(next(iter(self._running)))
        return [(job, Outcome(job.id, job.folder, {"status": "done"}, fresh=True), 1.0)]

    def _abandon(self) -> None:
        self.abandoned += self._running
        self._running.clear()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """Three runs of which there is nothing yet."""
    folder = tmp_path_factory.mktemp("outputs")
    return [
        Job(f"job {seed}", resolve(compose("run", [*RUN, f"seed={seed}", f"outputs={folder}"]))) for seed in range(3)
    ]


def test_a_run_that_is_not_known_yet_is_asked_for_when_another_has_ended(jobs: list[Job]) -> None:
    launcher, ended = InTurn(), list[str]()

    def ask() -> Iterator[Job | None]:
        yield jobs[0]
        while not ended:
            yield None
        yield from jobs[1:]

    for job, _, _ in launcher.run(ask()):
        assert launcher.begun == ["job 0"] or ended
        ended.append(job.name)
    assert launcher.begun == ended == ["job 0", "job 1", "job 2"] and launcher.abandoned == []


def test_where_nothing_is_on_nothing_is_waited_for(jobs: list[Job]) -> None:
    assert list(InTurn().run(iter([None, *jobs]))) == []


def test_when_the_time_is_over_what_is_on_is_given_up(jobs: list[Job]) -> None:
    launcher = InTurn()
    assert list(launcher.run(jobs, until=time.monotonic())) == []
    assert launcher.begun == launcher.abandoned == ["job 0", "job 1"]


@pytest.mark.slow
def test_the_pool_stops_a_run_in_time_and_keeps_how_far_it_came(tmp_path: Path) -> None:
    long = [*RUN, "freeze=full", "epochs=5000", f"outputs={tmp_path}"]
    job = Job("long", resolve(compose("run", long)))
    with configs.make("launcher/local", workers=1, threads=1) as pool:
        until = time.monotonic() + 20
        assert list(pool.run([job], until)) == []
        assert until <= time.monotonic() <= until + 18
    record = read_record(job.folder)
    assert record is not None and record["status"] == "interrupted"
    assert (job.folder / "checkpoints" / "manifest.json").exists()
