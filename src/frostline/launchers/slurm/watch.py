"""Watching jobs: a run has ended when its record says so, or when SLURM no longer has a job for it."""

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome, conclude_run
from frostline.launchers.slurm.call import RESULT
from frostline.launchers.slurm.queue import JobPlace, Queue, SlurmJob, cancel_jobs, read_queue, require_queue
from frostline.results.owner import OWNER
from frostline.results.store import read_record

LOOK_S = 1.0
LAG_S = 4.0
"""How long after its job has ended a run's record may take to be seen here, by way of a network's file system."""

CANCEL_S = 90.0
"""How long jobs may take to be gone that are cancelled; SLURM's KillWait is 30 s where nobody set another."""


@dataclass(eq=False)
class Watched:
    """A run and its job; times are those of `time.monotonic`."""

    job: Job
    place: JobPlace
    submitted: float = field(default_factory=time.monotonic)
    started: float | None = None
    gone: float | None = None
    seen: SlurmJob | None = None

    def is_running(self) -> bool:
        """Return whether a worker has the run at this moment: SLURM's word for it comes later."""
        on = (self.job.folder / OWNER).exists()
        if on and self.started is None:
            self.started = time.monotonic()
        return on

    def end(self, jobs: Queue | None) -> Outcome | None:
        """Return how the run ended, if it has, as far as its record says it or these jobs."""
        self.is_running()
        if has_ended(self.job.folder):
            return self._conclude(None)
        if jobs is None:
            return None
        self.seen = jobs.get(self.place, self.seen)
        if self.seen is not None and self.seen.stuck:
            cancel_jobs([self.seen])
            return self._conclude(f"SLURM can never start {self.seen}, which was cancelled")
        if self.place in jobs and not jobs[self.place].ended:
            self.gone = None
            return None
        self.gone = self.gone or time.monotonic()
        return self._conclude(self._explain()) if time.monotonic() - self.gone > LAG_S else None

    def interrupt(self) -> Outcome:
        """Record that the run was stopped, unless it has come to an end."""
        stopped = "stopped with the command that ran it"
        return self._conclude(None if has_ended(self.job.folder) else stopped, "interrupted")

    def _conclude(self, end: str | None, status: str = "failed") -> Outcome:
        if self.seen is not None and self.seen.state == "CANCELLED":
            status = "interrupted"
        return conclude_run(self.job.folder, without_force(self.job.config), end, status)

    def _explain(self) -> str:
        """Return what SLURM says of a job that left no record, and where to look."""
        if self.seen is None:
            return f"SLURM no longer knows the job {self.place.name} of this run, and it left no record"
        log = Path(self.job.config.outputs).absolute() / "slurm" / f"{self.seen.id}_0_log.err"
        where = f"see {log}" if log.exists() else f"its log {log} is not there: is outputs shared by all nodes?"
        return f"SLURM ended {self.seen} before the run had; {where}"


def has_ended(folder: Path) -> bool:
    """Return whether a run has come to an end: an interrupted one may be on its way back into the queue."""
    record = read_record(folder)
    return record is not None and record["status"] != "interrupted"


def without_force(config: Run) -> Run:
    """Return the config of a run for its job: what `force` asks for is done once, not again after each requeue."""
    return replace(config, force=False)


def find_jobs(folders: Iterable[Path]) -> dict[Path, JobPlace]:
    """Return the jobs that have these runs (or calls) already; one that has just come to its end is waited for."""
    places = {folder: place for folder in folders if (place := JobPlace.read(folder)) is not None}
    while places:
        jobs = require_queue()
        places = {folder: place for folder, place in places.items() if place in jobs and not jobs[place].ended}
        if not any(has_ended(folder) or (folder / RESULT).exists() for folder in places):
            break
        time.sleep(LOOK_S)
    return places


def withdraw_jobs(places: Collection[JobPlace]) -> None:
    """Cancel these jobs, and wait until they are gone, for a while."""
    deadline = time.monotonic() + CANCEL_S
    asked: set[SlurmJob] = set()
    while places and time.monotonic() < deadline:
        jobs = read_queue()
        left = [] if jobs is None else [jobs[place] for place in places if place in jobs and not jobs[place].ended]
        if jobs is not None and not left:
            return
        cancel_jobs(set(left) - asked)
        asked |= set(left)
        time.sleep(LOOK_S)


def await_results(calls: Mapping[Path, JobPlace]) -> list[Any]:
    """Wait for the jobs of calls; return what the function did in each, or the UserError that came of it.

    Those that wait in the queue when the first one has done its work are cancelled: they have nothing left to do.
    """
    waiting, found, gone = dict(calls), list[Any](), dict[JobPlace, float]()
    try:
        while True:
            for folder in [folder for folder in waiting if (folder / RESULT).exists()]:
                found.append(_read(folder))
                del waiting[folder]
            if not waiting:
                return found
            time.sleep(LOOK_S)
            jobs = read_queue()
            if jobs is None:
                continue
            if any(not isinstance(one, UserError) for one in found):
                idle = {folder: place for folder, place in waiting.items() if place in jobs and jobs[place].idle}
                withdraw_jobs(idle.values())
                waiting = {folder: place for folder, place in waiting.items() if folder not in idle}
            for folder, place in list(waiting.items()):
                if place in jobs and not jobs[place].ended:
                    continue
                if time.monotonic() - gone.setdefault(place, time.monotonic()) > LAG_S:
                    found.append(UserError(f"SLURM ended {jobs.get(place, place.name)} without a result."))
                    del waiting[folder]
    except BaseException:
        withdraw_jobs(waiting.values())
        raise


def _read(folder: Path) -> Any:
    found = json.loads((folder / RESULT).read_text())
    return UserError(found["error"]) if "error" in found else found["value"]
