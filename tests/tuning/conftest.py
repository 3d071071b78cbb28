"""A launcher that pretends: every run is a formula of its learning rate, so that studies are quick and known."""

import math
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from frostline.config.schema import Run
from frostline.files.csv_tables import write_sheet
from frostline.launchers.base import Task
from frostline.launchers.dispatch import Outcome, conclude, set_up, settled
from frostline.results.pruning import ask
from frostline.results.record import Record
from frostline.tuning.conduct import Sitting
from frostline.tuning.index import Index
from frostline.tuning.search import Search, make_search
from frostline.tuning.study import open_study

SMALL = ["backbone=timm", "backbone.name=test_resnet", "data=digits", "epochs=4"]
RATE = "optimizer.lr=tag(log,interval(1e-4,1.0))"
Ended = tuple[Task, Outcome, float]


def quality(config: Run) -> float:
    """Return what a run comes to: best at a learning rate of 0.01, better where everything trains."""
    return 0.9 - 0.2 * abs(math.log10(config.optimizer["lr"]) + 2) + 0.05 * ("full" in config.freeze["_target_"])


class Pretend:
    """A launcher that runs formulas, ``workers`` at a time; ``ran`` are the configs in order, ``fails`` says why one
    has no result, ``leaves`` how many runs it does before its caller is killed."""

    def __init__(self, workers: int = 1, fails: Callable[[Run], str | None] = lambda config: None, leaves: int = 10**6):
        self.workers, self.fails, self.leaves = workers, fails, leaves
        self.ran: list[Run] = []
        self._on: dict[Future[None], Task] = {}

    def __enter__(self) -> "Pretend":
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def running(self) -> list[tuple[Task, float]]:
        return [(task, 0.0) for task in self._on.values()]

    def call(self, function: str, *arguments: Any) -> Any:
        assert function == "frostline.run.survey.survey"
        return [{} for _ in arguments[0]]

    def call_many(self, times: int, function: str, *arguments: Any) -> list[Any]:
        raise AssertionError("a study fills no caches")

    def run(self, tasks: Iterable[Task]) -> Generator[Ended]:
        coming = iter(tasks)
        with ThreadPoolExecutor(self.workers) as threads:
            while True:
                while len(self._on) < self.workers and (task := next(coming, None)) is not None:
                    if (known := settled(task.config, task.folder)) is not None:
                        yield task, known, 0.0
                        continue
                    set_up(task.folder, task.config)
                    self.ran.append(task.config)
                    if len(self.ran) > self.leaves:
                        raise Killed
                    self._on[threads.submit(self._work, task)] = task
                if not self._on:
                    return
                for done in wait(self._on, return_when=FIRST_COMPLETED).done:
                    done.result()
                    task = self._on.pop(done)
                    yield task, conclude(task.folder, task.config, None), 1.0

    def _work(self, task: Task) -> None:
        config, folder = task.config, task.folder
        record = Record(id=folder.name, status="done", config=config.plain(), epochs=config.epochs)
        reason = self.fails(config)
        if reason is not None:
            record.status, record.reason = reason.split(": ")
            record.write(folder)
            return
        rows = []
        for epoch in range(config.epochs):
            rows.append({"epoch": epoch, "val/accuracy": quality(config) * (1 - 0.5 ** (epoch + 1))})
            write_sheet(folder / "metrics.csv", rows)
            if config.judged and ask(folder, epoch, 20):
                record.status, record.reason, record.epochs = "pruned", f"stopped after epoch {epoch}", epoch + 1
                break
        record.metrics = {split: {"accuracy": rows[-1]["val/accuracy"]} for split in ("val", "test")}
        record.write(folder)


class Killed(BaseException):
    """The parent is gone."""


Conducted = Callable[..., tuple[Sitting, Any]]


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Search]:
    """Return a search over the learning rate, from overrides, in the test's own folder."""

    def make(*overrides: str, swept: tuple[str, ...] = (RATE,)) -> Search:
        return make_search([*SMALL, f"outputs={tmp_path / 'outputs'}", *swept, *overrides], None)

    return make


@pytest.fixture
def conducted(tmp_path: Path) -> Conducted:
    """Conduct a search with a launcher; return the sitting and the final run's record."""

    def conduct(search: Search, launcher: Pretend | None = None) -> tuple[Sitting, Any]:
        folder = tmp_path / "outputs" / "studies" / search.name
        folder.mkdir(parents=True, exist_ok=True)
        sitting = Sitting(search, open_study(search, folder), Index.open(search, folder, "-"), launcher or Pretend())
        return sitting, sitting.conduct()

    return conduct
