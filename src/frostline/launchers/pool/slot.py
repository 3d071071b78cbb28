"""A slot of the pool: a pebble pool of one process, which is replaced when it dies."""

import importlib
import multiprocessing
import signal
import time
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from pebble import CONSTS, ProcessExpired, ProcessFuture, ProcessPool

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.dispatch import accident, overdue
from frostline.launchers.pool.server import start_server
from frostline.launchers.worker import death
from frostline.processes.lifetime import end_group, running

CONSTS.term_timeout = 5.0  # seconds that pebble leaves a process to end by itself, before it kills it
TRIES = 3
GONE_S = 1.0
SERVER_GONE = 255
"""What multiprocessing takes for the exit code of a process whose fork server is gone."""


class Slot:
    """One place for work: ``begin`` it, ask now and then whether it has ``ended``, then ask how.

    Whatever dies meanwhile, the worker, the fork server or Python's resource tracker, the work ends, or is begun anew
    where it had not begun.
    """

    def __init__(self, environment: Mapping[str, str], threads: int, device: str | None, fresh: bool):
        self.context = multiprocessing.get_context("forkserver")
        self.worker = self.context.RawValue("i", 0)  # the process that does the present work, set by itself
        self.server = self.context.RawValue("i", 0)  # the process that has started it
        self.about = (
            "frostline.launchers.pool.warm.start",
            self.worker,
            dict(environment),
            threads,
            device,
            self.server,
        )
        self.fresh = fresh
        self.future: ProcessFuture = ProcessFuture()
        self.started = 0.0
        self._pool: ProcessPool | None = None
        self._work: tuple[tuple, float | None] = ((), None)
        self._tries = 0
        self._gone: float | None = None

    def begin(self, function: str, *arguments: Any, limit: float | None = None) -> None:
        """Let this slot's process call a function, named with its module, for at most ``limit`` seconds."""
        self._work = (function, *arguments), limit
        self._tries = 0
        self.started = time.monotonic()
        self._schedule()

    def _schedule(self) -> None:
        self._tries += 1
        self._gone = None
        try:
            if self._pool is None or not self._pool.active:  # its idle process may have died
                self.stop()
                start_server(self.about[2])
                self._pool = ProcessPool(1, int(self.fresh), by_name, self.about, self.context)
            self.worker.value = 0
            arguments, limit = self._work
            self.future = self._pool.schedule(by_name, arguments, timeout=limit)
        except (OSError, EOFError, RuntimeError) as error:  # the fork server died meanwhile
            self.future = ProcessFuture()
            self.future.set_exception(BrokenProcessPool(f"no process could be started ({error})"))

    def ended(self) -> bool:
        """Return whether the work has ended, in whatever way; work whose process died before it began is begun anew."""
        if not self.future.done() and not self._stuck():
            return self._vanished()
        if isinstance(self._error(), BrokenProcessPool) and not self.worker.value and self._tries < TRIES:
            self._schedule()
            return False
        return True

    def _stuck(self) -> bool:
        """Return whether pebble has given up without a word, as it does when one of its threads ends."""
        return self._pool is None or not self._pool.active

    def _vanished(self) -> bool:
        """Return whether the process left with exit code 0 in the middle of its work, of which pebble says nothing."""
        if self.worker.value == 0 or running(self.worker.value):
            self._gone = None
            return False
        self._gone = self._gone or time.monotonic()
        return time.monotonic() - self._gone > GONE_S

    def _error(self) -> BaseException | None:
        """Return what came in the way of work that has ended."""
        if self.future.done():
            return self.future.exception()
        return BrokenProcessPool("the pool has ended") if self._stuck() else ProcessExpired("", 0)

    def well(self) -> bool:
        """Return whether the work that has ended was a run that is done: its process can take the next one."""
        return self._error() is None and self.future.result() == 0

    def accident(self, folder: Path, config: Run) -> str | None:
        """Return what befell the process of a run that has ended, or None where the run left a record itself."""
        error = self._error()
        if isinstance(error, TimeoutError):
            return overdue(config)
        if isinstance(error, ProcessExpired):
            lost = error.exitcode == SERVER_GONE and not running(self.server.value)
            return "the process that starts workers was killed" if lost else accident(folder, error.exitcode)
        if error is not None:
            return f"the worker failed: {type(error).__name__}: {error}"
        return accident(folder, self.future.result())

    def result(self) -> Any:
        """Return what the function that has ended returned, or raise what it raised; UserError if its process died."""
        error = self._error()
        if isinstance(error, ProcessExpired | BrokenProcessPool):
            why = death(error.exitcode) if isinstance(error, ProcessExpired) else "no worker could be started"
            raise UserError(f"{self._work[0][1]}: {why}.") from error
        return self.future.result()

    def stop(self) -> None:
        """End this slot's process and whatever it has started; the next work gets a new one."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None
        if self.worker.value:
            end_group(self.worker.value, signal.SIGKILL)
            self.worker.value = 0


def by_name(function: str, *arguments: Any) -> Any:
    """Call a function named with its module, which only the process that calls it has to import."""
    module, _, name = function.rpartition(".")
    return getattr(importlib.import_module(module), name)(*arguments)
