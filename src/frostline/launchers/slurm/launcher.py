"""SLURM: runs are jobs of a cluster, submitted as arrays by submitit, their ranks started by SLURM."""

import io
import math
import os
import secrets
import signal
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline.config.accelerators import count_gpus
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.files.atomic import sha256_json, write_json
from frostline.launchers.base import Execute, Job, Jobs, Launcher, Question, pass_over_done, run_first
from frostline.launchers.calls import name_of
from frostline.launchers.dispatch import Outcome, make_run_folder
from frostline.launchers.pool.launcher import Pool
from frostline.launchers.slurm.call import CALL, RESULT
from frostline.launchers.slurm.job import CallTask, RunTask, SlurmTask
from frostline.launchers.slurm.queue import JobPlace, check_cluster, explain_refusal, read_queue, require_queue
from frostline.launchers.slurm.script import check, check_gpus, check_path
from frostline.launchers.slurm.watch import Watched, await_results, find_jobs, withdraw_jobs, without_force
from frostline.launchers.worker import clear_folder
from frostline.processes.import_path import SAFE
from frostline.ranges import Processes, Seconds
from frostline.results.store import RESOLVED, run_folder, run_id

ARRAY = 1000
"""Jobs in an array, as SLURM's MaxArraySize has it where nobody set another."""

LOOK_S = 0.5
ASK_S = (1.0, 15.0)
"""Seconds between two questions to squeue: few in the first minutes, more in a long wait."""

Kind = tuple[str, int, int, Any]
"""What runs of one array have in common: the output folder, nodes, tasks on each node, GPUs on each node."""


class Slurm(Launcher):
    """Runs as jobs: ``workers`` of an array at the same time, with what ``sbatch`` calls by the same names.

    ``time_min`` (minutes) is a job's time limit, and ``mem_gb`` its memory on each node. ``signal_s`` seconds before
    the limit, or when it is preempted, a job stops at its last checkpoint and is requeued, by submitit and nobody
    else, at most ``max_requeues`` times for the limit. ``gpus_per_node`` is by itself ``trainer.devices`` where these
    are GPUs, and may not be less. ``setup`` are lines for the job's shell, of the few kinds that
    `slurm_script` allows. With ``detach`` nothing is waited for. A run has ``trainer.num_nodes`` nodes with
    ``trainer.devices`` tasks on each; ``devices`` is the most GPUs that any run takes of a node.
    """

    def __init__(
        self,
        partition: str | None,
        account: str | None,
        qos: str | None,
        time_min: int,
        gpus_per_node: int | str | None,
        cpus_per_task: int | None,
        mem_gb: float | None,
        constraint: str | None,
        exclude: str | None,
        workers: Processes,
        max_requeues: int,
        signal_s: int,
        setup: Sequence[str],
        threads: Processes | None,
        timeout_s: Seconds | None,
        detach: bool,
        devices: int = 0,
    ):
        places = {"partition": partition, "account": account, "qos": qos, "constraint": constraint, "exclude": exclude}
        sizes = {"time_min": time_min, "gpus_per_node": gpus_per_node, "cpus_per_task": cpus_per_task, "mem_gb": mem_gb}
        check({**places, **sizes}, list(setup))
        check_gpus(gpus_per_node, devices)
        self.places, self.setup, self.time_min = places, list(setup), time_min
        self.gpus, self.cpus, self.mem_gb = gpus_per_node, cpus_per_task, mem_gb
        if not 0 < signal_s < 60 * time_min:
            raise UserError(f"launcher.signal_s: {signal_s} is invalid: expected seconds below launcher.time_min.")
        self.wanted, self.max_requeues, self.signal_s = workers, max_requeues, signal_s
        self.threads, self.timeout_s, self.detach = threads, timeout_s, detach
        self._on: dict[Job, Watched] = {}
        self._after: str | None = None
        self._asked = self._began = 0.0
        self._handler: Any = None

    def __enter__(self) -> "Slurm":
        _submitit()
        check_cluster(self.places)
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as by Ctrl-C
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)

    @property
    def workers(self) -> int:
        """How many runs of an array can be on at the same time."""
        return self.wanted

    @property
    def running(self) -> list[tuple[Job, float]]:
        """The runs that are on, with the `time.monotonic` at which each was first seen to be."""
        return [
            (job, one.started) for job, one in list(self._on.items()) if one.is_running() and one.started is not None
        ]

    def run(self, jobs: Jobs, until: float = math.inf) -> Generator[tuple[Job, Outcome, float]]:
        """Run every job; yield each as it ends, with how it ended and the seconds it took.

        A run whose record is final is not run again, and one that a job has already is not submitted again. A list
        goes in at once, as one array for each kind of resources; other ``jobs`` are asked for when there is room.
        Jobs of runs that are on when the caller leaves, or at ``until``, are cancelled, and the runs recorded as
        interrupted; with ``detach`` they go on, and nothing is yielded of them.
        """
        coming = iter(jobs)
        whole = isinstance(jobs, Sequence)
        self._began = time.monotonic()
        try:
            while True:
                yield from self._take(coming, None if whole else self.wanted - len(self._on))
                if self.detach or not self._on or time.monotonic() >= until:
                    return
                time.sleep(LOOK_S)
                yield from self._collect_ended()
        finally:
            self._leave()

    def _take(self, coming: Iterator[Job | None], room: int | None) -> Iterator[tuple[Job, Outcome, float]]:
        """Submit what there is room for; yield what is done already."""
        fresh: list[Job] = []
        while room is None or len(fresh) < room:
            job = yield from pass_over_done(coming)
            if job is None:
                break
            fresh.append(job)
        if fresh:
            self._submit(fresh)

    def _submit(self, jobs: Sequence[Job]) -> None:
        """Have a job for each of these runs: one that has it already, or a new one."""
        places = find_jobs({job.folder for job in jobs})
        self._watch(jobs, places)
        kinds: dict[Any, dict[Path, Job]] = {}
        for job in jobs:
            if job.folder not in places:
                kinds.setdefault(self._kind(job.config), {})[job.folder] = job
        for kind, found in kinds.items():
            for start in range(0, len(found), ARRAY):
                self._watch(jobs, self._array(kind, list(found.values())[start : start + ARRAY]))

    def _watch(self, jobs: Sequence[Job], places: Mapping[Path, JobPlace]) -> None:
        self._on |= {job: Watched(job, places[job.folder]) for job in jobs if job.folder in places}

    def _kind(self, config: Run) -> Kind:
        """Return the output folder, nodes, tasks on each node and GPUs on each node of a run."""
        trainer = config.trainer
        gpus = self.gpus or count_gpus(config) or None
        return config.outputs, trainer.get("num_nodes", 1), trainer.get("devices", 1), gpus

    def _array(self, kind: Kind, jobs: Sequence[Job]) -> dict[Path, JobPlace]:
        """Submit runs with the same resources; what an earlier sitting said of their end is removed before."""
        name = f"frostline-{secrets.token_hex(4)}"
        places = {job.folder: JobPlace(name, index if len(jobs) > 1 else None) for index, job in enumerate(jobs)}
        for job in jobs:
            make_run_folder(job.folder, without_force(job.config))
            clear_folder(job.folder, job.config.force)
            places[job.folder].write(job.folder)
        self._sbatch(kind, name, [RunTask(str((job.folder / RESOLVED).absolute())) for job in jobs])
        return places

    def _sbatch(self, kind: Kind, name: str, works: Sequence[SlurmTask]) -> None:
        """Submit works as one array. Raises UserError for what sbatch refuses."""
        submitit = _submitit()
        outputs, nodes, tasks, gpus = kind
        folder = (Path(outputs) / "slurm").absolute()
        check_path(str(folder))
        wanted = {
            **self.places,
            "time": self.time_min,
            "cpus_per_task": self.cpus,
            "job_name": name,
            "nodes": nodes,
            "ntasks_per_node": tasks,
            "gpus_per_node": gpus,
            "mem": self.mem_gb and f"{int(self.mem_gb * 1024)}M",
            "setup": [f"export {SAFE}=1", *self.setup],
            "dependency": self._after,
            # srun does not take the number of CPUs over from sbatch since SLURM 22.05
            "srun_args": ["--kill-on-bad-exit=1", *([f"--cpus-per-task={self.cpus}"] if self.cpus else [])],
            "additional_parameters": {"requeue": True},
        }
        executor = submitit.SlurmExecutor(folder, max_num_timeout=self.max_requeues)
        executor.update_parameters(
            signal_delay_s=self.signal_s,
            array_parallelism=self.wanted,
            **{key: value for key, value in wanted.items() if value is not None},
        )
        try:
            with _hiding_job(submitit.helpers), redirect_stderr(io.StringIO()):  # what it prints there it raises too
                executor.submit_array(works)
        except submitit.core.utils.FailedJobError as error:
            raise explain_refusal(str(error)) from error

    def _collect_ended(self) -> list[tuple[Job, Outcome, float]]:
        """Return the runs that have ended: their records are there, or their jobs are gone."""
        now, (least, most) = time.monotonic(), ASK_S
        jobs = None
        if now - self._asked > min(most, least + (now - self._began) / 20):
            jobs, self._asked = read_queue(), now
        found = [(job, one.end(jobs)) for job, one in self._on.items()]
        ended = [(job, end, self._on.pop(job)) for job, end in found if end is not None]
        return [(job, end, time.monotonic() - (one.started or one.submitted)) for job, end, one in ended]

    def run_one(self, job: Job) -> Outcome | None:
        """See `Launcher.run_one`."""
        return run_first(self, job)

    def ask(self, question: Question, configs: Sequence[Run]) -> Any:
        """Return what a process here answers: this machine may have no GPU, so it is told that the runs are elsewhere.

        A run is only put together there, on the CPU. Raises UserError when the process dies.
        """
        with Pool(workers=1, threads=self.threads, timeout_s=None, restarts=0, fresh=False) as pool:
            return pool.call(question, [config.plain() for config in configs], True)

    def share(self, work: Execute, configs: Sequence[Run], times: int) -> list[Any]:
        """Return what so many jobs of one array have done; a UserError stands where a result would.

        Runs that have a job already have had their share, or depend on the jobs that do it. With ``detach`` the jobs
        are not waited for, nothing is returned, and the runs that follow depend on them.
        """
        folders = {run_folder(Path(one.outputs), run_id(one)): one for one in configs}
        known = find_jobs(folders)
        left = [config for folder, config in folders.items() if folder not in known]
        if not left:
            return []
        plain = [config.plain() for config in left]
        folder = Path(left[0].outputs) / "slurm" / "calls" / sha256_json([name_of(work), plain])[:12]
        asked = {"function": name_of(work), "arguments": [plain, self.threads or self.cpus or 1, times]}
        places = find_jobs(folder.glob("*"))
        places = places or self._call([folder / str(index) for index in range(times)], asked, left)
        if not self.detach:
            return await_results(places)
        jobs = require_queue()
        ids = [jobs[place].id for place in places.values() if place in jobs]
        self._after = f"afterany:{':'.join(ids)}" if ids else None
        return []

    def _call(self, folders: Sequence[Path], asked: Mapping[str, Any], configs: Sequence[Run]) -> dict[Path, JobPlace]:
        """Submit calls; their folders are named by what is asked, so that the same is not asked twice."""
        name = f"frostline-{secrets.token_hex(4)}"
        places = {folder: JobPlace(name, index if len(folders) > 1 else None) for index, folder in enumerate(folders)}
        for folder, place in places.items():
            (folder / RESULT).unlink(missing_ok=True)
            write_json(folder / CALL, asked)
            place.write(folder)
        config = max(configs, key=count_gpus)  # where some runs have a GPU, so has this
        one = replace(config, trainer={**config.trainer, "devices": 1, "num_nodes": 1})
        self._sbatch(self._kind(one), name, [CallTask(str(folder.absolute())) for folder in folders])
        return places

    def _leave(self) -> None:
        """Cancel the jobs of runs that are on, and record them as interrupted; with ``detach`` let them go on."""
        if not self.detach:
            withdraw_jobs({one.place for one in self._on.values()})
            for one in self._on.values():
                one.interrupt()
        self._on.clear()


@contextmanager
def _hiding_job(helpers: Any) -> Iterator[None]:
    """Hide that this process may run in a job itself, of which sbatch would take over options."""
    kept = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    with helpers.clean_env(), helpers.environment_variables(**kept):
        yield


def _submitit() -> Any:
    """Return the package submitit, an extra. Raises UserError where it is missing."""
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UserError("launcher=slurm needs submitit: pip install 'frostline[slurm]'.") from error
    return submitit
