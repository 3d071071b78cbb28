"""The Ray launcher: runs many runs on a Ray cluster, each in a process of its own on one of the nodes."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from frostline.errors import UserError
from frostline.launchers.base import Job, Workers
from frostline.launchers.calls import name_of
from frostline.launchers.dispatch import GRACE_S, Outcome, conclude_run, make_run_folder
from frostline.launchers.ray import node
from frostline.launchers.ray.cluster import Cluster, describe_loss
from frostline.ranges import AtLeastOne, Processes, Restarts, Seconds
from frostline.results.owner import OWNER, is_owner_gone
from frostline.results.store import RECORD

LOOK_S = 1.0
LEFT_S = GRACE_S + 5
CALL_LEFT_S = 3.0


class Ray(Workers):
    """Runs as tasks of a Ray cluster, at most ``workers`` at a time; a context manager.

    Each takes ``cpus`` cores of one node, and ``gpus`` (by default one) for each of its ``devices`` that are GPUs. Ray
    only chooses the node and starts a process there, which does what `frostline run` does; it never runs one again by
    itself. ``outputs`` must be one folder for all nodes: that is looked at before the first run.
    The cluster is reached for when it is first needed. Raises UserError for what does not go together.
    """

    def __init__(
        self,
        address: str | None,
        workers: Processes | None,
        cpus: AtLeastOne,
        gpus: float | None,
        threads: Processes | None,
        timeout_s: Seconds | None,
        restarts: Restarts,
        dashboard: bool,
        outputs: str,
        devices: int = 0,
    ):
        self.address, self.wanted, self.dashboard = address, workers, dashboard
        self.cpus, self.gpus, self.devices, self.outputs = cpus, gpus, devices, Path(outputs)
        self._check()
        self._running: dict[Job, tuple[Any, float]] = {}
        self._handler: Any = None

    def _check(self) -> None:
        if self.gpus is not None and not (self.gpus >= 0 and (self.gpus % 1 == 0 or self.gpus < 1 >= self.devices)):
            raise UserError(
                f"launcher.gpus: {self.gpus:g} is invalid with {self.devices} GPUs in a run: "
                "expected 0, a whole number, or for a single device a fraction."
            )
        if self.gpus == 0 and self.devices:
            raise UserError("launcher.gpus: 0 is invalid where trainer.accelerator is a GPU: expected null.")
        if self.dashboard and self.address is not None:
            raise UserError("launcher.dashboard: only a cluster of our own has it; leave launcher.address null.")

    def __enter__(self) -> "Ray":
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as by Ctrl-C
        return self

    def __exit__(self, *_: object) -> None:
        if "cluster" in vars(self):
            self._abandon()
            self.cluster.close()
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster, its nodes looked at."""
        cluster = Cluster(self.address, self.dashboard)
        if self._handler is not None:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has put its own in place of it
        try:
            cluster.check(self.outputs)
        except BaseException:
            cluster.close()
            raise
        return cluster

    @cached_property
    def needs(self) -> dict[str, float]:
        """What a run takes of one node, in Ray's words."""
        return {"num_cpus": self.cpus, "num_gpus": (1 if self.gpus is None else self.gpus) * self.devices}

    @property
    def workers(self) -> int:
        """How many runs can be on at the same time."""
        return self.room

    @cached_property
    def room(self) -> int:
        """How many runs can be on at the same time; UserError where no node has what one takes."""
        room = self.cluster.room(self.cpus, self.needs["num_gpus"])
        if room == 0:
            raise UserError(
                f"launcher.cpus={self.cpus}, launcher.gpus: no node of the Ray cluster has {self.cpus} CPUs and "
                f"{self.needs['num_gpus']:g} GPUs, which a run takes; ask for less."
            )
        return min(room, self.wanted or room)

    @property
    def running(self) -> list[tuple[Job, float]]:
        """The runs that Ray was given, with the `time.monotonic` of that; in a busy cluster some may wait for room."""
        return [(job, started) for job, (_, started) in list(self._running.items())]

    def _begin(self, job: Job) -> None:
        """Hand a run to Ray. Raises UserError for a folder that cannot be used or shared, and for several nodes."""
        nodes = job.config.trainer.get("num_nodes", 1)
        if nodes > 1:
            raise UserError(f"trainer.num_nodes={nodes}: launcher=ray has one node for a run; launcher=slurm has more.")
        assert self.workers > 0
        wanted = job.config.launcher
        config = replace(job.config, launcher={**wanted, "threads": wanted["threads"] or self.cpus})
        make_run_folder(job.folder, config)
        reference = self.cluster.submit(node.run, config.plain(), **self.needs)
        self._running[job] = reference, time.monotonic()

    def _ended(self) -> list[tuple[Job, Outcome, float]]:
        """Wait a moment; return the runs that have ended, their records written."""
        references = {reference: job for job, (reference, _) in self._running.items()}
        ready, _ = self.cluster.ray.wait(list(references), timeout=LOOK_S)
        found = []
        for reference in ready:
            job = references[reference]
            outcome = self._outcome(job, reference)
            _, started = self._running.pop(job)
            found.append((job, outcome, time.monotonic() - started))
        return found

    def _outcome(self, job: Job, reference: Any) -> Outcome:
        """Return how a run ended; the node sends the record itself, for its file may be slow to show here."""
        errors = self.cluster.ray.exceptions
        try:
            fresh, record = self.cluster.ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            return conclude_run(job.folder, job.config, f"{type(error.cause).__name__}: {error.cause}")
        except errors.RayError as error:
            _await_end(job.folder)
            return conclude_run(job.folder, job.config, describe_loss(error))
        return Outcome(job.folder.name, job.folder, record, fresh)

    def call_many(self, times: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """See `Workers.call_many`; each process is on a node, with what a run takes."""
        assert self.workers > 0
        references = [self.cluster.submit(function, *arguments, **self.needs) for _ in range(times)]
        try:
            return [self._result(reference, name_of(function)) for reference in references]
        except BaseException:
            self.cluster.cancel(references, CALL_LEFT_S)
            raise

    def _result(self, reference: Any, name: str) -> Any:
        try:
            return self.cluster.result(reference, name)
        except UserError as error:
            return error

    def _abandon(self) -> None:
        """Stop the runs that are on, and record them as interrupted."""
        if not self._running:
            return
        self.cluster.cancel([reference for reference, _ in self._running.values()], LEFT_S)
        for job in self._running:
            if not (job.folder / RECORD).exists():
                conclude_run(job.folder, job.config, "stopped with the command that ran it", "interrupted")
        self._running.clear()


def _await_end(folder: Path) -> None:
    """Wait for a run whose process on the node is lost: its own follows by itself, and would write its record later."""
    deadline = time.monotonic() + LEFT_S
    while (folder / OWNER).exists() and not is_owner_gone(folder / OWNER) and time.monotonic() < deadline:
        time.sleep(0.1)
