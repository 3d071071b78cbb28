"""Runs in this very process, one after the other: of objects that no other process could be given."""

import math
import signal
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Self

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.base import Job, Jobs, pass_over_done, run_first
from frostline.launchers.dispatch import Outcome, conclude_run, describe_exit, make_run_folder
from frostline.launchers.worker import attempt, do_run
from frostline.processes.environment import restoring_environment
from frostline.processes.stopping import stopping_on_signals


class Here:
    """A launcher of runs to which objects are ``given`` in place of what their configs name.

    A run that fails is an outcome, as with other launchers; one that kills its process takes the caller with it, and
    the same call again goes on from its last checkpoint.
    """

    workers = 1

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.running: list[tuple[Job, float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, jobs: Jobs, until: float = math.inf) -> Generator[tuple[Job, Outcome, float]]:
        """See `Launcher.run`; a run that is on in this process is not stopped."""
        coming = iter(jobs)
        while time.monotonic() < until and (job := (yield from pass_over_done(coming))) is not None:
            outcome = run_here(job, self.given)
            yield job, outcome, outcome.record["cost"]["seconds"]

    def run_one(self, job: Job) -> Outcome | None:
        """See `Launcher.run_one`."""
        return run_first(self, job)

    def ask(self, question: Any, configs: Sequence[Run]) -> Any:
        """See `Launcher.ask`: of the functions of `frostline.runs.calls`, which take objects too."""
        with leaving_process():
            return question([config.plain() for config in configs], False, given=self.given)

    def share(self, work: Any, configs: Sequence[Run], times: int) -> list[Any]:
        """See `Launcher.share`: this process does all of it, with the threads that it has."""
        import torch

        plain = [config.plain() for config in configs]
        try:
            with leaving_process():
                return [work(plain, torch.get_num_threads(), 1, given=self.given)]
        except UserError as error:
            return [error]


def run_here(job: Job, given: Mapping[str, Any]) -> Outcome:
    """Do a run that is not done.

    Raises UserError where its folder cannot be written, and KeyboardInterrupt when its record says that this process
    was asked to stop.
    """
    folder, config = job.folder, job.config
    check_alone(config)
    make_run_folder(folder, config)
    main = threading.current_thread() is threading.main_thread()  # only it is told of signals
    with leaving_process(), stopping_on_signals(signal.SIGINT) if main else nullcontext():
        code = do_run(config, folder, partial(attempt, given=given))
    outcome = conclude_run(folder, config, describe_exit(folder, code))
    if outcome.record["status"] == "interrupted":
        raise KeyboardInterrupt(outcome.record["reason"])
    return outcome


def check_alone(config: Run) -> None:
    """Refuse a run of several ranks, which are processes of their own. Raises UserError."""
    for key in ("devices", "num_nodes"):
        if config.trainer.get(key, 1) != 1:
            raise UserError(
                f"trainer.{key}: {config.trainer[key]} is invalid for objects given from Python, which stay in this "
                "process: expected 1; for more, name your code on the command line with --allow."
            )


@contextmanager
def leaving_process() -> Iterator[None]:
    """Leave this process as it was found: how it computes, with how many threads, its environment, and the rest.

    What Lightning leaves there of a run with ddp would make a Trainer of the caller's own a rank of that run.
    """
    import torch

    from frostline.data.own.samples import restoring_generators
    from frostline.ranks.collectives import leave_process_group
    from frostline.ranks.numerics import restore_numerics

    threads, grouped = torch.get_num_threads(), torch.distributed.is_initialized()
    try:
        with restoring_environment(), restore_numerics(), restoring_generators():
            yield
    finally:
        torch.set_num_threads(threads)
        if not grouped:
            leave_process_group()
