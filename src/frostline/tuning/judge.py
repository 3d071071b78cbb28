"""The judge: reads what running trials come to after each epoch, and tells those that are behind to stop."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from frostline.config.schema import find_monitor
from frostline.files.csv_tables import read_csv
from frostline.files.decisions import Decision, remove_decision, write_decision
from frostline.launchers.base import Job

if TYPE_CHECKING:
    from optuna.trial import Trial

METRICS = "metrics.csv"
LOOK_S = 0.05


@dataclass
class Case:
    """A running trial: how much of its metrics.csv was read, and the epoch that it was told of last."""

    job: Job
    trial: "Trial"
    read: int = 0
    told: int = -1

    def rows(self) -> list[tuple[int, float]]:
        """Return epoch and value of each row of metrics.csv, or nothing where it has not changed."""
        path = self.job.folder / METRICS
        changed = path.stat().st_mtime_ns if path.exists() else 0
        if changed == self.read:
            return []
        self.read = changed
        monitor = self.job.config.metric
        return [found for row in read_csv(path) if (found := _numbers(row, monitor)) is not None]

    def decide(self, epoch: int) -> None:
        """Write whether the trial is to stop after an epoch, once for each; the last one is not judged."""
        if epoch != self.told:
            stop = epoch + 1 < self.job.config.epochs and self.trial.should_prune()
            write_decision(self.job.folder, epoch, Decision.STOP if stop else Decision.GO_ON)
            self.told = epoch


def _numbers(row: Mapping[str, str], monitor: str) -> tuple[int, float] | None:
    """Return a row's epoch and value, None where an earlier sitting's file was damaged; this one writes it anew."""
    try:
        return int(row["epoch"]), float(row[f"val/{monitor}"])
    except (KeyError, ValueError):
        return None


class Judge:
    """Reports each trial's best value so far to Optuna after every epoch, and writes the decision.

    Epochs count from 1; the last one is not judged.
    """

    def __init__(self, active: bool):
        self.active = active
        self._cases: dict[Path, Case] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._work: Future[None] = Future()

    @contextmanager
    def judging_trials(self) -> Iterator["Judge"]:
        """Judge trials in the background, until the end of the context."""
        if not self.active:
            yield self
            return
        with ThreadPoolExecutor(1) as threads:
            self._work = threads.submit(self._watch)
            try:
                yield self
            finally:
                self._done.set()
        self.check()

    def check(self) -> None:
        """Raise the error that the work in the background failed with: it judges no more trials."""
        if self._work.done():
            self._work.result()

    def follow(self, job: Job, trial: "Trial") -> None:
        """Judge a run that is about to begin or to go on; earlier decisions on it are forgotten."""
        remove_decision(job.folder)
        if job.config.force:  # what it came to before will be removed, but not before its worker has started
            (job.folder / METRICS).unlink(missing_ok=True)
        with self._lock:
            self._cases[job.folder] = Case(job, trial)

    def close(self, job: Job) -> None:
        """Take the last values of a run that has ended, and judge it no more."""
        with self._lock:
            case = self._cases.pop(job.folder)
            if self.active:
                self._report(case, case.rows())

    def _watch(self) -> None:
        while not self._done.wait(LOOK_S):
            with self._lock:
                for case in self._cases.values():
                    self._look(case)

    def _look(self, case: Case) -> None:
        rows = case.rows()
        if rows:
            self._report(case, rows)
            case.decide(rows[-1][0])

    def _report(self, case: Case, rows: Iterable[tuple[int, float]]) -> None:
        metric, best = find_monitor(case.job.config), None
        known = case.trial.storage.get_trial(case.trial._trial_id).intermediate_values if rows else {}
        for epoch, value in rows:
            step = epoch + 1
            best = value if best is None or metric.beats(value, best) else best
            if step not in known:
                case.trial.report(best, step)
