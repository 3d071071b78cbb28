"""Runs in this very process, one after the other: of objects that no other process could be given."""

import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, Self

from frostline.config.schema import Run
from frostline.config.secrets import make_mask
from frostline.errors import UserError
from frostline.launchers.base import Task
from frostline.launchers.dispatch import Outcome, accident, conclude, set_up, settled
from frostline.launchers.worker import attempt, claim, work
from frostline.processes.stopping import interruptible
from frostline.results.log import logging_to
from frostline.results.owner import release
from frostline.results.store import LOG


class Here:
    """A launcher of runs to which objects are ``given`` in place of what their configs name.

    A run that fails is an outcome, as with other launchers; one that kills its process takes the caller with it, and
    the same call again goes on from its last checkpoint.
    """

    workers = 1

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.running: list[tuple[Task, float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Outcome, float]]:
        """See `Launcher.run`."""
        for task in tasks:
            known = settled(task.config, task.folder)
            outcome = known or run_here(task, self.given)
            yield task, outcome, outcome.record["cost"]["seconds"] if known is None else 0.0

    def call(self, function: str, *arguments: Any) -> Any:
        """See `Launcher.call`."""
        module, _, name = function.rpartition(".")
        with leaving_process():
            return getattr(import_module(module), name)(*arguments, given=self.given)

    def call_many(self, times: int, function: str, *arguments: Any) -> list[Any]:
        """See `Launcher.call_many`."""
        try:
            return [self.call(function, *arguments)]
        except UserError as error:
            return [error]


def run_here(task: Task, given: Mapping[str, Any]) -> Outcome:
    """Do a run that is not done.

    Raises UserError where its folder cannot be written, and KeyboardInterrupt when its record says that this process
    was asked to stop.
    """
    folder, config = task.folder, task.config
    check_alone(config)
    set_up(folder, config)
    main = threading.current_thread() is threading.main_thread()  # only it is told of signals
    signals = interruptible(signal.SIGINT) if main else nullcontext()
    with leaving_process(), signals, logging_to(folder / LOG, make_mask(config.plain())):
        claim(folder)
        try:
            code = work(config, folder, lambda config, folder: attempt(config, folder, given))
        finally:
            release(folder)
    outcome = conclude(folder, config, accident(folder, code))
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
    """Leave this process as it was found: how it computes, with how many threads, and its random generators."""
    import torch

    from frostline.data.own.samples import restoring_generators
    from frostline.ranks.numerics import restoring_numerics

    threads = torch.get_num_threads()
    variables = {name: os.environ.get(name) for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")}
    try:
        with restoring_numerics(), restoring_generators():
            yield
    finally:
        torch.set_num_threads(threads)
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
