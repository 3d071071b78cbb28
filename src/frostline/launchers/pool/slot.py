"""A slot of the pool: a pebble pool of one process, which is replaced when it dies."""

import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from pebble import CONSTS, ProcessExpired, ProcessFuture, ProcessPool

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.dispatch import describe_exit, describe_timeout
from frostline.launchers.pool import warm
from frostline.launchers.pool.server import WorkerContext, start_server
from frostline.launchers.worker import describe_death
from frostline.processes.lifetime import end_group, is_running

CONSTS.term_timeout = 5.0  # seconds that pebble leaves a process to end by itself, before it kills it
TRIES = 3
GONE_S = 1.0
SERVER_GONE = 255
"""What multiprocessing takes for the exit code of a process whose fork server is gone."""


class Slot:
    """One place for work: ``begin`` it, ask now and then whether it ``has_ended``, then ask how.

    Whatever dies meanwhile, the worker, the fork server or Python's resource tracker, the work ends, or is begun anew
    where it had not begun.
    """

    def __init__(self, environment: Mapping[str, str], threads: int, device: str | None, fresh: bool):
        self.context = WorkerContext()
        self.worker = self.context.RawValue("i", 0)  # the process that does the present work, set by itself
        self.server = self.context.RawValue("i", 0)  # the process that has started it
        self.environment = dict(environment)
        self.about = (self.worker, self.environment, threads, device, self.server)
        self.fresh = fresh
        self.future: ProcessFuture = ProcessFuture()
        self.started = 0.0
        self._pool: ProcessPool | None = None
        self._work: tuple[Callable[..., Any], tuple, float | None] = (warm.call, (), None)
        self._tries = 0
        self._gone: float | None = None
        self._served_by = 0  # the fork server of the present work; another process may have come from another since

    def begin(self, function: Callable[..., Any], *arguments: Any, limit: float | None = None) -> None:
        """Let this slot's process call a top-level function of Frostline's, for at most ``limit`` seconds."""
        self._work = function, arguments, limit
        self._tries = 0
        self.started = time.monotonic()
        self._schedule()

    def _schedule(self) -> None:
        self._tries += 1
        self._gone = None
        try:
            if self._pool is None or not self._pool.active:  # its idle process may have died
                self.stop()
                start_server(self.environment)
                self._pool = ProcessPool(1, int(self.fresh), warm.start, self.about, self.context)
            self.worker.value = 0
            function, arguments, limit = self._work
            self.future = self._pool.schedule(function, arguments, timeout=limit)
        except (OSError, EOFError, RuntimeError) as error:  # the fork server died meanwhile
            self.future = ProcessFuture()
            self.future.set_exception(BrokenProcessPool(f"no process could be started ({error})"))

    def has_ended(self) -> bool:
        """Return whether the work has ended, in whatever way; work whose process died before it began is begun anew."""
        if not self.future.done() and not self._is_stuck():
            self._served_by = self.server.value
            return self._has_vanished()
        if isinstance(self._error(), BrokenProcessPool) and not self.worker.value and self._tries < TRIES:
            self._schedule()
            return False
        return True

    def _is_stuck(self) -> bool:
        """Return whether pebble has given up without a word, as it does when one of its threads ends."""
        return self._pool is None or not self._pool.active

    def _has_vanished(self) -> bool:
        """Return whether the process left with exit code 0 in the middle of its work, of which pebble says nothing."""
        if self.worker.value == 0 or is_running(self.worker.value):
            self._gone = None
            return False
        self._gone = self._gone or time.monotonic()
        return time.monotonic() - self._gone > GONE_S

    def _error(self) -> BaseException | None:
        """Return what came in the way of work that has ended."""
        if self.future.done():
            return self.future.exception()
        return BrokenProcessPool("the pool has ended") if self._is_stuck() else ProcessExpired("", 0)

    def has_succeeded(self) -> bool:
        """Return whether the work that has ended was a run that is done: its process can take the next one."""
        return self._error() is None and self.future.result() == 0

    def describe_end(self, folder: Path, config: Run) -> str | None:
        """Return what befell the process of a run that has ended, or None where the run left a record itself."""
        error = self._error()
        if isinstance(error, TimeoutError):
            return describe_timeout(config)
        if isinstance(error, ProcessExpired):
            lost = error.exitcode == SERVER_GONE and not is_running(self._served_by)
            return "the process that starts workers was killed" if lost else describe_exit(folder, error.exitcode)
        if error is not None:
            return f"the worker failed: {type(error).__name__}: {error}"
        return describe_exit(folder, self.future.result())

    def fetch_result(self) -> Any:
        """Return what the function that has ended returned, or raise what it raised; UserError if its process died."""
        error = self._error()
        if isinstance(error, ProcessExpired | BrokenProcessPool):
            why = describe_death(error.exitcode) if isinstance(error, ProcessExpired) else "no worker could be started"
            raise UserError(f"{self._work[1][0]}: {why}.") from error
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
