"""SLURM's queue, as its own commands show it: squeue and scancel, never sacct, which many clusters do not have."""

import json
import logging
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from frostline.errors import UserError
from frostline.files.atomic import write_json

JOB = "job.json"
"""The file, in a run's folder, that says which job has it."""

COMMANDS = ("sbatch", "squeue", "scancel", "srun")
ASK_S = 60.0
ENDS = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT".split()
)
NEVER = frozenset(
    (
        "AccountNotAllowed",
        "AssocMaxWallDurationPerJobLimit",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "JobHoldMaxRequeue",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSMaxWallDurationPerJobLimit",
        "QOSNotAllowed",
        "launch_failed_requeued_held",
    )
)
"""Why a job waits that will wait for ever, unless an administrator comes."""

log = logging.getLogger("frostline.launchers.slurm.launcher")


@dataclass(frozen=True)
class JobPlace:
    """Where a job stands: in the submission of a name of its own, and in its array, if it is one."""

    name: str
    index: int | None

    def write(self, folder: Path) -> None:
        """Remember, in a run's folder, which job has the run; written before it is submitted, so none is lost."""
        write_json(folder / JOB, {"name": self.name, "index": self.index})

    @classmethod
    def read(cls, folder: Path) -> "JobPlace | None":
        """Return the place of the job that had this run last, or None where there was none."""
        try:
            found = json.loads((folder / JOB).read_text())
        except FileNotFoundError:
            return None
        return cls(found["name"], found["index"])


@dataclass(frozen=True)
class SlurmJob:
    """A job as SLURM sees it."""

    id: str
    state: str
    why: str

    @property
    def ended(self) -> bool:
        """Whether it will not run again."""
        return self.state in ENDS

    @property
    def idle(self) -> bool:
        """Whether it waits in the queue."""
        return self.state == "PENDING"

    @property
    def stuck(self) -> bool:
        """Whether it can never start."""
        return self.state == "PENDING" and self.why.strip("()").replace(" ", "_") in NEVER

    def __str__(self) -> str:
        why = "" if self.why in ("None", "", "NonZeroExitCode") else f", {self.why}"
        return f"job {self.id} ({self.state}{why})"


Queue = Mapping[JobPlace, SlurmJob]


def read_queue() -> Queue | None:
    """Return this user's jobs, those that ended a few minutes ago included; None while SLURM does not answer."""
    command = ["squeue", "--me", "--array", "--states=all", "--noheader", "--format=%j|%K|%i|%T|%r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S)
    except subprocess.TimeoutExpired:
        log.warning("squeue has not answered for %.0f seconds; still waiting.", ASK_S)
        return None
    if done.returncode:
        log.warning("squeue does not answer (%s); still waiting.", done.stderr.strip())
        return None
    return _parse(done.stdout)


def _parse(text: str) -> Queue:
    found = {}
    for line in text.splitlines():
        name, index, number, state, why = line.rsplit("|", 4)
        found[JobPlace(name, int(index) if index.isdecimal() else None)] = SlurmJob(number, state, why)
    return found


def require_queue() -> Queue:
    """Return this user's jobs. Raises UserError when SLURM does not answer."""
    found = read_queue()
    if found is None:
        raise UserError("launcher: squeue does not answer; is SLURM up?")
    return found


def cancel_jobs(jobs: Iterable[SlurmJob]) -> None:
    """Ask SLURM to end these jobs."""
    ids = [job.id for job in jobs]
    if ids:
        subprocess.run(["scancel", "--quiet", *ids], capture_output=True, timeout=ASK_S)


def check_cluster(options: Mapping[str, str | int | None]) -> None:
    """Ask SLURM whether it takes jobs with these options of sbatch, and submit none.

    Raises UserError where there is no SLURM, and for a partition, an account or a feature that does not exist.
    """
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise UserError(f"launcher=slurm: {missing[0]} is not installed; run this on a machine of a SLURM cluster.")
    flags = [f"--{key}={value}" for key, value in options.items() if value is not None]
    asked = subprocess.run(
        ["sbatch", "--test-only", *flags, "--wrap=true"], capture_output=True, text=True, timeout=ASK_S
    )
    # "node configuration is not available" is said of nodes that are down or drained as well: those may come back
    if asked.returncode and "node configuration is not available" not in asked.stderr:
        raise explain_refusal(asked.stderr)


def explain_refusal(words: str) -> UserError:
    """Return the error for what sbatch has to say about a job that it does not take."""
    text = "; ".join(line.strip() for line in words.strip().splitlines() if line.strip())
    return UserError(f"launcher: SLURM refuses the job: {text}; see the keys of conf/launcher/slurm.yaml.")
