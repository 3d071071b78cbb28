"""The pool: runs many runs in warm worker processes, whatever becomes of each."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import cached_property
from typing import Any

from frostline.errors import UserError
from frostline.launchers.base import Job, Workers, only_result
from frostline.launchers.calls import name_of
from frostline.launchers.dispatch import (
    Outcome,
    conclude_run,
    dispatch,
    environment,
    make_run_folder,
    share_threads,
)
from frostline.launchers.pool import warm
from frostline.launchers.pool.server import start_server
from frostline.launchers.pool.slot import Slot
from frostline.ranges import Processes, Restarts, Seconds
from frostline.results.store import RECORD, RESOLVED

LOOK_S = 1.0


class Pool(Workers):
    """Worker processes that stay warm, one run at a time each; a context manager.

    There are ``workers`` of them, or one for each GPU, or one; on a machine with GPUs each sees one alone, or as many
    as a run has ``devices`` that are GPUs (0: runs take none, and all are left alone). ``timeout_s`` and ``restarts``
    count as each run's own config has them.
    They are forked from a server that has paid for the imports, and that holds no threads and no CUDA. One that
    dies, hangs beyond ``timeout_s`` or fails costs its run, which is recorded, and is replaced: only a run
    that ended well leaves its process to the next one (none does with ``fresh``).
    """

    def __init__(
        self,
        workers: Processes | None,
        threads: Processes | None,
        timeout_s: Seconds | None,
        restarts: Restarts,
        fresh: bool,
        devices: int = 1,
    ):
        self.wanted, self.threads, self.fresh, self.devices = workers, threads, fresh, devices
        self._handler: Any = None
        self._running: dict[Slot, Job] = {}

    def __enter__(self) -> "Pool":
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as by Ctrl-C
        start_server(environment(share_threads(self.threads, self.wanted or 1)))
        return self

    def __exit__(self, *_: object) -> None:
        self._abandon()
        if "slots" in vars(self):
            _stop(self.slots)
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)

    @cached_property
    def slots(self) -> list[Slot]:
        """Places for a run each; making them waits for the server's imports."""
        first = self._slot(None, 1)
        found = only_result(self._call_on([first], warm.count_gpus)) if self.devices else 0
        names = share_gpus(name_gpus(found), self.devices) if found else []
        number = self.wanted or len(names) or 1
        if number == 1 and not names:
            return [first]
        first.stop()
        return [self._slot(names[place % len(names)] if names else None, number) for place in range(number)]

    def _slot(self, device: str | None, workers: int) -> Slot:
        threads = share_threads(self.threads, workers)
        return Slot(environment(threads), threads, device, self.fresh)

    @property
    def workers(self) -> int:
        """How many runs can be on at the same time; where that is not given, the GPUs are looked for."""
        return self.wanted or len(self.slots)

    @property
    def running(self) -> list[tuple[Job, float]]:
        """The runs that are on, with the `time.monotonic` at which each was started."""
        return [(job, slot.started) for slot, job in list(self._running.items())]

    def _begin(self, job: Job) -> None:
        make_run_folder(job.folder, job.config)
        slot = next(slot for slot in self.slots if slot not in self._running)
        self._running[slot] = job
        path = str((job.folder / RESOLVED).absolute())
        slot.begin(warm.run, path, limit=job.config.launcher["timeout_s"])

    def _ended(self) -> list[tuple[Job, Outcome, float]]:
        """Wait a moment; return the runs that have ended, their records written."""
        wait([slot.future for slot in self._running], LOOK_S, FIRST_COMPLETED)
        found = []
        for slot in [slot for slot in self._running if slot.ended()]:
            seconds = time.monotonic() - slot.started
            job = self._running[slot]
            end = slot.describe_end(job.folder, job.config)
            if not slot.succeeded():
                slot.stop()
            outcome = conclude_run(job.folder, job.config, end)
            del self._running[slot]
            found.append((job, outcome, seconds))
        return found

    def run_one(self, job: Job) -> Outcome | None:
        """Do one run in a process of its own, which has this terminal for itself and needs no server."""
        return dispatch(job.config)

    def call_many(self, times: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """See `Workers.call_many`; there may be fewer, as many as slots are free."""
        free = [slot for slot in self.slots if slot not in self._running]
        return self._call_on(free[:times], function, *arguments)

    def _call_on(self, slots: list[Slot], function: Callable[..., Any], *arguments: Any) -> list[Any]:
        try:
            for slot in slots:
                slot.begin(warm.call, name_of(function), *arguments)
            while not all([slot.ended() for slot in slots]):  # each is looked at: it may begin anew
                wait([slot.future for slot in slots], LOOK_S)
            return [_result(slot) for slot in slots]
        except BaseException:
            _stop(slots)
            raise

    def _abandon(self) -> None:
        """Stop the runs that are on, and record them as interrupted."""
        _stop(list(self._running))
        for job in self._running.values():
            if not (job.folder / RECORD).exists():
                conclude_run(job.folder, job.config, "stopped with the command that ran it", "interrupted")
        self._running.clear()


def _result(slot: Slot) -> Any:
    """Return what a slot's work returned, or the UserError that came of it; a process that failed takes no more."""
    try:
        return slot.result()
    except UserError as error:
        slot.stop()
        return error


def _stop(slots: list[Slot]) -> None:
    """Stop slots at the same time: each may take a while."""
    if slots:
        with ThreadPoolExecutor(len(slots)) as threads:
            list(threads.map(Slot.stop, slots))


def name_gpus(count: int) -> list[str]:
    """Return the names by which each of ``count`` visible GPUs can be made the only visible one."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(place) for place in range(count)])[:count]


def share_gpus(names: list[str], devices: int) -> list[str]:
    """Return what each slot sees of the GPUs: so many for each, or all of them where there are not enough."""
    whole = [",".join(names[place : place + devices]) for place in range(0, len(names) - devices + 1, devices)]
    return whole or ([",".join(names)] if names else [])
