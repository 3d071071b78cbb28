"""How the tasks of one SLURM job find each other, and notice each other's end: by files in the run's folder."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from frostline.config.schema import Run
from frostline.files.atomic import write_json
from frostline.files.leftovers import private_folder
from frostline.launchers.worker import describe_death
from frostline.ranks.place import (
    RANKS,
    find_way,
    leave_status,
    meet_by_address,
    meet_by_file,
    rank_variables,
    read_statuses,
)
from frostline.results.record import Record, read_versions
from frostline.results.store import DECIDED

PLACE = "meeting.json"
LOOK_S = 0.5
MEET_S = 600.0
AFTER_S = 4.0
"""How long a rank may go on after another has failed, so that it can say so itself."""

WATCH_S = 0.2
"""How often a rank's parent looks whether it is still there."""

LAST_S = 30.0
"""How long the first rank's parent waits, its own rank ended, for word of the others."""


@dataclass(frozen=True)
class Meeting:
    """Where the ranks of one sitting of a run meet. The sitting's name tells it from one before a requeue."""

    sitting: str
    point: str

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator["Meeting"]:
        """Choose where to meet, and tell the others; what earlier ranks left must be gone by now.

        On one node that is a file, among several a port that is free here.
        """
        with private_folder() as private:
            alone = os.environ["SLURM_JOB_NUM_NODES"] == "1"
            made = cls(name_sitting(), meet_by_file(private) if alone else meet_by_address(*free_address(_hosts())))
            write_json(folder / RANKS / PLACE, asdict(made))
            yield made

    @classmethod
    def join(cls, folder: Path) -> "Meeting":
        """Wait for the first rank's parent to say where this sitting meets."""
        deadline = time.monotonic() + MEET_S
        while time.monotonic() < deadline:
            path = folder / RANKS / PLACE
            found = json.loads(path.read_text()) if path.exists() else {}
            if found.get("sitting") == name_sitting():
                return cls(**found)
            time.sleep(LOOK_S)
        raise TimeoutError(
            f"rank 0 did not say in {MEET_S:.0f} s where the ranks meet; is {folder} shared by all nodes?"
        )

    def make_variables(self) -> dict[str, str]:
        """Return the environment of this task's rank."""
        task = {name: int(os.environ[f"SLURM_{name}"]) for name in ("PROCID", "LOCALID", "NTASKS", "NODEID")}
        local = task["NTASKS"] // int(os.environ["SLURM_JOB_NUM_NODES"])
        return rank_variables(
            self.sitting, task["PROCID"], task["LOCALID"], task["NTASKS"], local, task["NODEID"], self.point
        )


def _hosts() -> Sequence[str]:
    from submitit import JobEnvironment

    return JobEnvironment().hostnames


def free_address(hosts: Sequence[str]) -> tuple[str, int]:
    """Return this node's address on the way to these hosts, and a port that is free there.

    Where their names say nothing, it is the address of its own name.
    """
    ways = (find_way(host) for host in hosts)
    host = next((way for way in ways if way is not None and not way.startswith("127.")), socket.gethostname())
    with socket.create_server((host, 0)) as probe:
        return probe.getsockname()[:2]


def name_sitting() -> str:
    """Return what names this start of this job; a requeue counts the restarts up."""
    return f"{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"


def must_end(folder: Path, rank: int) -> bool:
    """Return whether a rank has to end since another failed some seconds ago."""
    for other, status in read_statuses(folder).items():
        if other != rank and status["status"] not in ("done", *DECIDED):
            time.sleep(AFTER_S)
            return True
    return False


def report_death(folder: Path, config: Run, rank: int, code: int | None, late: str | None) -> None:
    """Leave word of a rank that died without any, or that took too long (``late`` says so).

    A death without a word is put before all that the others say: they can say no more than that they lost it. Except by
    SIGABRT, which is how NCCL ends a rank that has lost another: that comes after what was said by then.
    """
    if late is None and (code == 0 or rank in read_statuses(folder)):
        return
    assert late is not None or code is not None
    reason = late or describe_death(code or 0)
    record = Record(folder.name, "failed", config.plain(), reason=reason, versions=read_versions())
    died = time.time() - WATCH_S if code == -signal.SIGABRT else 0.0
    leave_status(folder, rank, {**record.plain(), "time": died})


def await_ranks(folder: Path, world: int) -> None:
    """Wait until every rank has left word, or a while."""
    deadline = time.monotonic() + LAST_S
    while len(read_statuses(folder)) < world and time.monotonic() < deadline:
        time.sleep(LOOK_S)
