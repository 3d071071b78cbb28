"""A launcher that pretends, on a clock of its own: a run is a curve and its validation samples, so races are known."""

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frostline.advice.candidates import Inquiry, make_inquiry
from frostline.advice.index import AdviceIndex
from frostline.advice.sitting import AdviceSitting
from frostline.config.schema import Run
from frostline.data.examination.facts import make_empty_examination
from frostline.errors import UserError
from frostline.files.csv_tables import read_csv, write_csv
from frostline.files.decisions import Decision, await_decision
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome, conclude_run, find_outcome, make_run_folder
from frostline.launchers.progress import Screen
from frostline.profiles.call import try_measure
from frostline.results.record import Cost, Record
from frostline.results.validation import write_validation
from frostline.runs.calls import examine_and_survey, extract

SAMPLES = 400
EXAMINED = dict(make_empty_examination())
START_S = 2.0
EPOCH_S: Mapping[str, float] = {"linear_probe": 0.0, "last_k": 4.0, "lp_ft": 10.0, "full": 12.0}
LAST: Mapping[str, float] = {"linear_probe": 0.80, "last_k": 0.84, "lp_ft": 0.82, "full": 0.70}
"""The seconds of an epoch of each strategy, and the accuracy that it comes to."""


def strategy(config: Run) -> str:
    """Return the name of a run's strategy."""
    return str(config.freeze["_target_"]).rpartition(".")[2]


def accuracy(config: Run, epoch: int) -> float:
    """Return what a run comes to after an epoch: it falls short of its last one by half as much each epoch."""
    last = LAST[strategy(config)]
    if strategy(config) == "linear_probe":
        return last
    return last - 0.4 * 0.5 ** (epoch + 1) - 0.1 * (config.optimizer["lr"] != 0.001)


class Pretend:
    """Runs formulas, one at a time, on a clock that each of them moves on.

    ``fails`` says why a run has no result; ``slow`` multiplies what an epoch takes; ``leaves`` is how many runs it does
    before its caller is killed.
    """

    workers = 1

    def __init__(
        self, fails: Callable[[Run], str | None] = lambda config: None, slow: float = 1.0, leaves: int = 10**6
    ) -> None:
        self.fails, self.slow, self.leaves = fails, slow, leaves
        self.now = 0.0
        self.ran: list[Run] = []
        self.trained: list[tuple[str, int]] = []

    def __enter__(self) -> "Pretend":
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def running(self) -> list[tuple[Job, float]]:
        return []

    def ask(self, question: Any, configs: Sequence[Run]) -> Any:
        assert question is examine_and_survey
        self.now += 5.0
        return {"data": EXAMINED, "runs": [describe(config) for config in configs]}

    def share(self, work: Any, configs: Sequence[Run], times: int) -> list[Any]:
        assert work in (extract, try_measure) and times == 1
        self.now += 8.0
        return [UserError("the disk is full")] if work is try_measure or self.fails(configs[0]) else [{}]

    def run_one(self, job: Job) -> Outcome | None:
        raise AssertionError("advice has many runs")

    def run(self, jobs: Iterable[Job | None], until: float = math.inf) -> Generator[tuple[Job, Outcome, float]]:
        for job in jobs:
            if job is None or self.now >= until:
                return
            if (known := find_outcome(job.config, job.folder)) is not None:
                yield job, known, 0.0
                continue
            make_run_folder(job.folder, job.config)
            self.ran.append(job.config)
            if len(self.ran) > self.leaves:
                raise KeyboardInterrupt
            before = self.now
            if not self.work(job.config, job.folder, until):
                return
            yield job, conclude_run(job.folder, job.config, None), self.now - before

    def work(self, config: Run, folder: Path, until: float) -> bool:
        """Do a run as far as it is told, from where it stands; return whether that was before the time is over."""
        self.now += START_S
        record = Record(id=folder.name, status="done", config=config.plain(), cost=Cost(seconds=1.0))
        if (reason := self.fails(config)) is not None:
            record.status, record.reason = reason.split(": ")
            record.write(folder)
            return True
        solved, rows = strategy(config) == "linear_probe", read_rows(folder)
        end = min(config.epochs, config.stop_after or config.epochs)
        for epoch in [config.epochs - 1][len(rows) :] if solved else range(len(rows), end):
            took = EPOCH_S[strategy(config)] * self.slow
            if self.now + took > until:
                self.now = until
                return False
            self.now += took
            self.trained.append((folder.name, epoch))
            rows.append({"epoch": epoch, "val/accuracy": accuracy(config, epoch), "seconds": took})
            write_csv(folder / "metrics.csv", rows)
            (folder / "checkpoints").mkdir(exist_ok=True)
            (folder / "checkpoints" / f"{epoch}").write_text("")
            if config.judged:
                write_validation(folder, draw_validation(config, accuracy(config, epoch)), is_mean=True)
                if epoch + 1 < config.epochs and await_decision(folder, epoch, 0) is Decision.PAUSE:
                    record.status, record.reason = "paused", f"paused after epoch {epoch}"
                    break
        record.metrics = {split: {"accuracy": rows[-1]["val/accuracy"]} for split in ("val", "test")}
        record.epochs = len(rows)
        record.write(folder)
        return True


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows that a run has already."""
    path = folder / "metrics.csv"
    rows = read_csv(path) if path.exists() else []
    return [
        {"epoch": int(row["epoch"]), **{key: float(row[key]) for key in ("val/accuracy", "seconds")}} for row in rows
    ]


def draw_validation(config: Run, right: float) -> dict[str, torch.Tensor]:
    """Return validation outputs and parts: the same samples are hard for all, and a few by chance for each."""
    hard = np.random.default_rng(0).random(SAMPLES)
    own = np.random.default_rng(sorted(LAST).index(strategy(config)) + 10 * config.seed).normal(0, 0.02, SAMPLES)
    parts = torch.tensor(hard + own < right).double()
    return {"outputs": torch.zeros(SAMPLES, 2), "label": torch.zeros(SAMPLES), "parts": parts}


def describe(config: Run) -> dict[str, Any]:
    """Return what a survey finds out of a run."""
    solved = strategy(config) == "linear_probe"
    return {
        "error": None,
        "data": "data: 1,000/400/500 samples",
        "counts": {"train": 1000, "val": SAMPLES, "test": 500},
        "stepped": not solved,
        "phases": 1,
        "solved": config.epochs if solved else 0,
        "flops": 1e9 if solved else EPOCH_S[strategy(config)] * config.epochs * 2e10,
        "filling": 1e11 if solved else 0.0,
        "entries": 4 if solved else 0,
        "missing": 4 if solved else 0,
    }


SMALL = ["backbone=timm", "backbone.name=test_resnet", "data=digits", "epochs=10", "advise.rates=[0.001,0.0001]"]
SMALL += [f"~advise.candidates.{name}" for name in ("mix", "upper", "joined_then_last", "joined_then_all")]


@cache
def compose_inquiry(*overrides: str) -> Inquiry:
    """Return a question with candidates of each kind; composing it takes longest of all."""
    return make_inquiry([*SMALL, *overrides], None)


def ask(folder: Path, *overrides: str) -> Inquiry:
    """Return such a question whose outputs lie in ``folder``."""
    found = deepcopy(compose_inquiry(*overrides))
    for one in found.candidates:
        one.composed.outputs = str(folder / "outputs")
    return replace(found, config=replace(found.config, outputs=str(folder / "outputs")))


def sit(inquiry: Inquiry, launcher: Pretend, folder: Path) -> AdviceSitting:
    """Do one sitting of an advice on the launcher's clock; return it."""
    place = folder / "outputs" / "advice" / inquiry.name
    place.mkdir(parents=True, exist_ok=True)
    index = AdviceIndex.open(place, inquiry, "frostline advise")
    began = launcher.now
    sitting = AdviceSitting(inquiry, index, launcher, Screen(), began, lambda: launcher.now)  # type: ignore[arg-type]
    try:
        sitting.answer()
    finally:
        index.set(seconds=index.earlier + launcher.now - began)
    return sitting
