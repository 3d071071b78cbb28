"""What every launcher offers: runs go in, outcomes come out."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

from frostline.config.accelerators import count_gpus
from frostline.config.allow import instantiate
from frostline.config.schema import Run
from frostline.config.secrets import resolve_env
from frostline.errors import UserError
from frostline.launchers.dispatch import Outcome, find_outcome, share_threads
from frostline.results.store import run_folder, run_id

Plain = Sequence[Mapping[str, Any]]
Question = Callable[[Plain, bool], Any]
"""A function that is given resolved configs as plain containers, and whether their runs will be on another machine."""

Execute = Callable[[Plain, int, int], Any]
"""A function that is given resolved configs, its threads, and how many workers do the same at the same time."""


@dataclass(frozen=True, eq=False)
class Job:
    """One run to do: the name that is shown, and the resolved config."""

    name: str
    config: Run

    @cached_property
    def folder(self) -> Path:
        """The run's folder, named by its ID."""
        return run_folder(Path(self.config.outputs), run_id(self.config))

    @property
    def id(self) -> str:
        """The run's ID."""
        return self.folder.name

    def find_final_record(self) -> dict[str, Any] | None:
        """Return the run's record where it need not run again, else None."""
        known = find_outcome(self.config, self.folder)
        return known.record if known else None


Jobs = Iterable[Job | None]
"""Runs to do; None stands for those that are known only when another one has ended."""


class Launcher(Protocol):
    """Executes runs; a context manager, on whose exit nothing of its own goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def workers(self) -> int:
        """How many runs can be on at the same time."""
        ...

    @property
    def running(self) -> list[tuple[Job, float]]:
        """The runs that are on, with the `time.monotonic` at which each was started."""
        ...

    def run(self, jobs: Jobs, until: float = math.inf) -> Generator[tuple[Job, Outcome, float]]:
        """Run every job; yield each as it ends, with how it ended and the seconds it took.

        A run whose record is final is not run again. One that fails is an outcome too; only an unusable output
        folder raises (UserError). ``jobs`` is asked for the next one when there is room for it; None: not before one
        has ended. Runs that are on when the caller leaves, or at ``until`` (of `time.monotonic`), are stopped and
        recorded as interrupted.
        """
        ...

    def run_one(self, job: Job) -> Outcome | None:
        """Do one run, and nothing else, with this launcher, which is not entered; return how it ended.

        None: it goes on by itself.
        """
        ...

    def ask(self, question: Question, configs: Sequence[Run]) -> Any:
        """Return what a worker finds out about runs. It builds them, and does not train them.

        A UserError comes back as it was raised. Raises UserError when the worker dies.
        """
        ...

    def share(self, work: Execute, configs: Sequence[Run], times: int) -> list[Any]:
        """Divide work for these runs among workers that do it at the same time, on devices such as the runs have.

        Return what each worker returned, or its UserError. There may be fewer: a worker that has not started when the
        first one ends is not started.
        """
        ...


class Workers(Launcher, ABC):
    """How a launcher with room for so many runs goes through them: it starts the next one when there is room."""

    _running: dict[Any, Any]

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many runs can be on at the same time."""

    @abstractmethod
    def call_many(self, times: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Call a top-level function in so many workers at the same time; arguments and results are plain.

        A UserError stands where a result would, also where a worker died; a defect is raised.
        """

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a top-level function returns in a worker. Raises UserError as the function does."""
        return take_only_result(self.call_many(1, function, *arguments))

    def ask(self, question: Question, configs: Sequence[Run]) -> Any:
        """See `Launcher.ask`."""
        return self.call(question, [config.plain() for config in configs], False)

    def share(self, work: Execute, configs: Sequence[Run], times: int) -> list[Any]:
        """See `Launcher.share`."""
        plain = [config.plain() for config in configs]
        return self.call_many(times, work, plain, share_threads(None, times), times)

    def run_one(self, job: Job) -> Outcome | None:
        """See `Launcher.run_one`."""
        return run_first(self, job)

    def run(self, jobs: Jobs, until: float = math.inf) -> Generator[tuple[Job, Outcome, float]]:
        """See `Launcher.run`."""
        coming = iter(jobs)
        try:
            yield from self._fill(coming)
            while self._running and time.monotonic() < until:
                yield from self._collect_ended()
                yield from self._fill(coming)
        finally:
            self._abandon()

    def _fill(self, coming: Iterator[Job | None]) -> Iterator[tuple[Job, Outcome, float]]:
        """Begin runs while there is room; yield those that are done already, for which nothing is made or asked."""
        while not self._running or len(self._running) < self.workers:
            job = yield from pass_over_done(coming)
            if job is None:
                return
            self._begin(job)

    @abstractmethod
    def _begin(self, job: Job) -> None:
        """Start a run that there is room for; UserError where its folder cannot be used."""

    @abstractmethod
    def _collect_ended(self) -> list[tuple[Job, Outcome, float]]:
        """Wait a moment; return the runs that have ended, their records written."""

    @abstractmethod
    def _abandon(self) -> None:
        """Stop the runs that are on, and record them as interrupted."""


def pass_over_done(coming: Iterator[Job | None]) -> Generator[tuple[Job, Outcome, float], None, Job | None]:
    """Yield the next runs as long as they are done already; return the first that is not, None where none is there."""
    for job in coming:
        if job is None:
            return None
        known = find_outcome(job.config, job.folder)
        if known is None:
            return job
        yield job, known, 0.0
    return None


def run_first(launcher: Launcher, job: Job) -> Outcome | None:
    """Do one run as the only one of a launcher's; return how it ended, or None where the launcher does not wait."""
    with launcher:
        return next((outcome for _, outcome, _ in launcher.run([job])), None)


def take_only_result(results: Sequence[Any]) -> Any:
    """Return the one result of a call. Raises the UserError that stands in its place."""
    (found,) = results
    if isinstance(found, UserError):
        raise found
    return found


def make_launcher(configs: Sequence[Run]) -> Launcher:
    """Return the launcher that the node `launcher`, the same in all configs, names.

    It is told the most GPUs that any of these runs takes on a node. Raises UserError for a wrong key.
    """
    gpus = max(map(count_gpus, configs))
    return instantiate(resolve_env(configs[0].launcher, "launcher"), "launcher", devices=gpus)
