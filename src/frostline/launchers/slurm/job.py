"""What runs in a SLURM job: the process that starts a worker, waits, and lets submitit requeue the job.

It trains nothing, so that its main thread is free for signals: no collective delays a checkpoint or a requeue.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from frostline.config.schema import Run
from frostline.files.atomic import write_json
from frostline.launchers.dispatch import (
    conclude_run,
    describe_exit,
    describe_timeout,
    find_outcome,
    make_environment,
    share_threads,
)
from frostline.launchers.slurm.meeting import WATCH_S, Meeting, await_ranks, must_end, report_death
from frostline.launchers.worker import Interrupted, lead
from frostline.processes.lifetime import end_group
from frostline.ranks.place import count_ranks
from frostline.results.store import read_record

LEAKS = ("SUBMITIT_", "SLURMD_", "SRUN_", "SBATCH_", "PMI")
STOP_S = 12.0
"""Seconds between SIGTERM and SIGKILL: a rank that hangs in a collective ends itself 10 s after SIGTERM."""

HOLD_S = 600.0
"""How long a job whose worker was told to stop by SLURM waits for what comes next: the end, or a requeue."""

ASK_S = 2.0


class Child:
    """A process of its own that a job waits for; the signal that asks for a requeue is ours, and never reaches it."""

    def __init__(self, words: Sequence[str], variables: Mapping[str, str]):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # what is blocked stays so in a child
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", *words], env=variables, stdin=subprocess.DEVNULL, start_new_session=True
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.started = time.monotonic()

    def stop(self) -> None:
        """End it and what it started: by SIGTERM, after a while by SIGKILL. A handler of signals may call this."""
        if not self._is_gone():
            end_group(self.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while not self._is_gone() and time.monotonic() < deadline:
            time.sleep(WATCH_S)
        end_group(self.process.pid, signal.SIGKILL)

    def _is_gone(self) -> bool:
        """Look without Popen, whose lock the code that a signal has interrupted may hold."""
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        except ChildProcessError:
            return True


class SlurmTask:
    """What submitit calls in every task of a job; pickled by name with one path, and called again after a requeue."""

    def __init__(self, path: str):
        self.path = Path(path)
        self.child: Child | None = None
        self.told = False

    def __call__(self) -> None:
        raise NotImplementedError

    def checkpoint(self) -> Any:
        """Stop the worker, which goes on from its last checkpoint, and have the same work submitted again.

        Called by submitit, in its handler of SIGUSR2, in the task of rank 0; None of Lightning's hears of it.
        """
        from submitit.helpers import DelayedSubmission

        if self.child is not None:
            self.child.stop()
        return DelayedSubmission(type(self)(str(self.path)))

    def start(self, words: Sequence[str], threads: int, variables: Mapping[str, str] | None = None) -> Child:
        """Start this task's process, in an environment that no longer looks like SLURM's."""
        clean = {name: value for name, value in make_environment(threads).items() if not name.startswith(LEAKS)}
        self.child = Child(words, {**clean, **(variables or {})})
        return self.child


class RunTask(SlurmTask):
    """One run, or one rank of it in each task."""

    def __call__(self) -> None:
        """Run the worker, or the ranks, and see to it that there is a record, unless SLURM wants something else."""
        from submitit.core.utils import UncompletedJobError

        config, folder = Run.read(yaml.safe_load(self.path.read_text())), self.path.parent
        if find_outcome(config, folder) is not None:
            return
        signal.signal(signal.SIGTERM, self._note_stop)
        try:
            self._work(config, folder)
        except UncompletedJobError as error:  # by submitit, in its handler: the limit has come once too often
            conclude_run(folder, config, f"{error} See launcher.max_requeues and launcher.time_min.")
        if self.told:
            await_requeue(folder)

    def _work(self, config: Run, folder: Path) -> None:
        if count_ranks(config) == 1:
            self._run_alone(config, folder)
        elif int(os.environ["SLURM_PROCID"]) == 0:
            lead(self.path, self._lead)
        else:
            self._rank(config, folder, Meeting.join(folder))

    def _note_stop(self, *_: object) -> None:
        """Note that SLURM tells the whole job to stop: its worker hears that too, and stops by itself."""
        self.told = True

    def _run_alone(self, config: Run, folder: Path) -> None:
        child = self.start(["frostline.launchers.worker", str(self.path)], count_threads(config))
        code = self._wait(child, config)
        what = describe_timeout(config) if code is None else describe_exit(folder, code)
        conclude_run(folder, config, what, "interrupted" if self.told else "failed")

    def _wait(self, child: Child, config: Run, folder: Path | None = None) -> int | None:
        """Return the exit code of a child, or None where it was stopped since it took too long.

        With ``folder`` the other ranks are watched: where one has failed this one is stopped some seconds later.
        """
        limit = config.launcher["timeout_s"]
        try:
            while child.process.poll() is None:
                if limit is not None and time.monotonic() - child.started > limit:
                    return None
                if folder is not None and must_end(folder, int(os.environ["SLURM_PROCID"])):
                    break
                time.sleep(WATCH_S)
        finally:
            child.stop()
        return child.process.wait()

    def _lead(self, config: Run, folder: Path) -> dict[int, int]:
        """Be the parent of rank 0, called by the one who makes the record: open the meeting, and wait for all."""
        try:
            with Meeting.open(folder) as meeting:
                self._rank(config, folder, meeting)
            await_ranks(folder, count_ranks(config))
        except Interrupted:  # whoever makes the record has SIGTERM raise this
            self.told = True
            raise
        return {}

    def _rank(self, config: Run, folder: Path, meeting: Meeting) -> None:
        """Run this task's rank; whatever becomes of it, its status is there in the end."""
        child = self.start(
            ["frostline.launchers.worker", str(self.path)], count_threads(config), meeting.make_variables()
        )
        code = self._wait(child, config, folder)
        rank = int(os.environ["SLURM_PROCID"])
        if not self.told:
            report_death(folder, config, rank, code, describe_timeout(config) if code is None else None)


class CallTask(SlurmTask):
    """One function's call, whose arguments and result are JSON files in a folder."""

    def __call__(self) -> None:
        """Call the function in a process of its own; what befalls that is the result, where it left none."""
        child = self.start(["frostline.launchers.slurm.call", str(self.path)], 1)
        try:
            code = child.process.wait()
        finally:
            child.stop()
        if not (self.path / "result.json").exists():
            write_json(self.path / "result.json", {"error": f"the process ended with exit code {code}"})


def count_threads(config: Run) -> int:
    """Return the threads of a task's process: as configured, else its CPUs, else its share of the node's."""
    node = config.launcher
    tasks = count_ranks(config) // config.trainer.get("num_nodes", 1)
    return node["threads"] or node["cpus_per_task"] or share_threads(None, tasks)


def await_requeue(folder: Path) -> None:
    """Wait where SLURM has told the worker to stop but not said what comes next, a requeue or the end.

    A job that ended here would count as COMPLETED, half-trained: SLURM requeues a preempted job only if it is still
    there when its time of grace is over.
    """
    deadline = time.monotonic() + HOLD_S
    while _was_interrupted(folder) and _is_running() and time.monotonic() < deadline:
        time.sleep(ASK_S)


def _was_interrupted(folder: Path) -> bool:
    record = read_record(folder)
    return record is not None and record["status"] == "interrupted"


def _is_running() -> bool:
    """Return whether SLURM counts this job as running: one that is cancelled, or requeued, is not."""
    words = ["squeue", "--noheader", "--format=%T", "--jobs", os.environ["SLURM_JOB_ID"]]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() == "RUNNING"
