"""A launcher that pretends: every run is a formula of its learning rate, so that studies are quick and known."""

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from frostline.config.schema import Run
from frostline.files.csv_tables import write_csv
from frostline.files.decisions import Decision, await_decision
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome, conclude_run, find_outcome, make_run_folder
from frostline.launchers.progress import Screen
from frostline.results.record import Record
from frostline.runs.calls import survey
from frostline.tuning.index import StudyIndex
from frostline.tuning.search import Search, make_search
from frostline.tuning.sitting import StudySitting
from frostline.tuning.study import open_study

SMALL = ["backbone=timm", "backbone.name=test_resnet", "data=digits", "epochs=4"]
RATE = "optimizer.lr=tag(log,interval(1e-4,1.0))"
Ended = tuple[Job, Outcome, float]


def quality(config: Run) -> float:
    """Return what a run comes to: best at a learning rate of 0.01, better where everything trains."""
    return 0.9 - 0.2 * abs(math.log10(config.optimizer["lr"]) + 2) + 0.05 * ("full" in config.freeze["_target_"])


class Pretend:
    """A launcher that runs formulas, ``workers`` at a time; ``ran`` are the configs in order, ``fails`` says why one
    has no result, ``leaves`` how many runs it does before its caller is killed."""

    def __init__(self, workers: int = 1, fails: Callable[[Run], str | None] = lambda config: None, leaves: int = 10**6):
        self.workers, self.fails, self.leaves = workers, fails, leaves
        self.ran: list[Run] = []
        self._on: dict[Future[None], Job] = {}

    def __enter__(self) -> "Pretend":
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def running(self) -> list[tuple[Job, float]]:
        return [(job, 0.0) for job in self._on.values()]

    def ask(self, question: Any, configs: Sequence[Run]) -> Any:
        assert question is survey
        return [{} for _ in configs]

    def share(self, work: Any, configs: Sequence[Run], times: int) -> list[Any]:
        raise AssertionError("a study fills no caches")

    def run_one(self, job: Job) -> Outcome | None:
        raise AssertionError("a study has many runs")

    def run(self, jobs: Iterable[Job | None], until: float = math.inf) -> Generator[Ended]:
        coming = iter(jobs)
        with ThreadPoolExecutor(self.workers) as threads:
            while True:
                while len(self._on) < self.workers and (job := next(coming, None)) is not None:
                    if (known := find_outcome(job.config, job.folder)) is not None:
                        yield job, known, 0.0
                        continue
                    make_run_folder(job.folder, job.config)
                    self.ran.append(job.config)
                    if len(self.ran) > self.leaves:
                        raise Killed
                    self._on[threads.submit(self._work, job)] = job
                if not self._on:
                    return
                for done in wait(self._on, return_when=FIRST_COMPLETED).done:
                    done.result()
                    job = self._on.pop(done)
                    yield job, conclude_run(job.folder, job.config, None), 1.0

    def _work(self, job: Job) -> None:
        config, folder = job.config, job.folder
        record = Record(id=folder.name, status="done", config=config.plain(), epochs=config.epochs)
        reason = self.fails(config)
        if reason is not None:
            record.status, record.reason = reason.split(": ")
            record.write(folder)
            return
        rows = []
        for epoch in range(config.epochs):
            rows.append({"epoch": epoch, "val/accuracy": quality(config) * (1 - 0.5 ** (epoch + 1))})
            write_csv(folder / "metrics.csv", rows)
            if config.judged and await_decision(folder, epoch, 20) is Decision.STOP:
                record.status, record.reason, record.epochs = "pruned", f"stopped after epoch {epoch}", epoch + 1
                break
        record.metrics = {split: {"accuracy": rows[-1]["val/accuracy"]} for split in ("val", "test")}
        record.write(folder)


class Killed(BaseException):
    """The parent is gone."""


Conducted = Callable[..., tuple[StudySitting, Any]]


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Search]:
    """Return a search over the learning rate, from overrides, in the test's own folder."""

    def make(*overrides: str, swept: tuple[str, ...] = (RATE,)) -> Search:
        return make_search([*SMALL, f"outputs={tmp_path / 'outputs'}", *swept, *overrides], None)

    return make


@pytest.fixture
def conducted(tmp_path: Path) -> Conducted:
    """Conduct a search with a launcher; return the sitting and the final run's record."""

    def conduct(search: Search, launcher: Pretend | None = None) -> tuple[StudySitting, Any]:
        folder = tmp_path / "outputs" / "studies" / search.name
        folder.mkdir(parents=True, exist_ok=True)
        study, index = open_study(search, folder), StudyIndex.open(search, folder, "-")
        sitting = StudySitting(search, study, index, launcher or Pretend(), Screen())
        return sitting, sitting.complete()

    return conduct
