"""Dispatch: give a run its folder and a process of its own, and read what it leaves."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from frostline.config.accelerators import WORKSPACE
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.files.atomic import WriteError, write_atomic
from frostline.launchers.worker import describe_death
from frostline.processes.import_path import SAFE
from frostline.processes.lifetime import end_group
from frostline.ranks.place import MEETING
from frostline.results.owner import OWNER, is_owner_gone, release_folder
from frostline.results.record import Record, read_versions
from frostline.results.store import ENDED, FINAL, LOG, RECORD, RESOLVED, UNRECORDED, read_record, run_folder, run_id

GRACE_S = 15.0
FOREVER_S = 1e9  # a wait with a limit wakes up now and then, so that Ray can interrupt it
RANK_VARIABLES = (MEETING, "RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
RANK_PREFIXES = ("SLURM_", "MASTER_", "PL_", "TORCHELASTIC_", "HYDRA_", "RAY_")
MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 33), "MALLOC_TOP_PAD_": str(1 << 28)}
"""Let glibc keep the memory of large activations between batches, in place of asking the kernel for fresh pages each
time: a forward pass on the CPU took 2.5 s in place of 4.2 s (1,000 images of 96 px, EfficientNet-Lite0, two cores)."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run; ``fresh`` is False when its record was there already."""

    id: str
    folder: Path
    record: dict[str, Any]
    fresh: bool

    @property
    def path(self) -> Path:
        """The record's file."""
        return self.folder / RECORD


def dispatch(config: Run) -> Outcome:
    """Run a resolved config in a worker process and wait for it; a run that is done is not run again.

    A run that fails, however it does, leaves a record that says so; only an unusable output folder raises
    (UserError). The worker's words go to the terminal and to its ``log.txt``.
    """
    folder = run_folder(Path(config.outputs), run_id(config))
    known = find_outcome(config, folder)
    if known is not None:
        return known
    make_run_folder(folder, config)
    return conclude_run(folder, config, _work(folder, config))


def find_outcome(config: Run, folder: Path) -> Outcome | None:
    """Return the outcome of a run that need not be run, since its record is final and nobody forces it anew."""
    record = None if config.force else read_record(folder)
    if record is None or record["status"] not in FINAL:
        return None
    return Outcome(folder.name, folder, record, fresh=False)


def make_run_folder(folder: Path, config: Run) -> None:
    """Make a run's folder, with its resolved config; what is in it already is the worker's business.

    Raises UserError when it cannot be written.
    """
    try:
        write_atomic(folder / RESOLVED, yaml.safe_dump(config.plain(), sort_keys=False))
    except WriteError as error:
        raise UserError(f"outputs: {folder} cannot be written ({error.strerror}); choose another folder.") from error


def conclude_run(folder: Path, config: Run, end: str | None, status: str = "failed") -> Outcome:
    """Return how a run ended, once its worker is gone.

    ``end`` says what came in the way of the worker, if anything did; it is recorded in place of whatever the worker
    could still write, unless the run came to its end all the same.
    """
    if (folder / OWNER).exists() and is_owner_gone(folder / OWNER):
        release_folder(folder)
    try:
        record = read_record(folder)
    except UserError as error:  # a worker leaves it whole, but others may have been at it
        record, end = None, end or str(error)
    final = record is not None and record["status"] in FINAL and not config.force
    if record is None or (end is not None and not final):
        reason = end or "the worker left no record"
        record = write_record(Record(folder.name, status, config.plain(), reason, versions=read_versions()), folder)
    return Outcome(folder.name, folder, record, fresh=True)


def write_record(record: Record, folder: Path) -> dict[str, Any]:
    """Write a record; return it, and where the disk does not take it, with that as its reason."""
    try:
        return record.write(folder).plain()
    except WriteError as error:
        return replace(record, reason=f"{record.reason}; {error}").plain()


def describe_exit(folder: Path, code: int) -> str | None:
    """Return what an exit code says of a worker that left no record, or None where it left one."""
    if code in ENDED and (folder / RECORD).exists():
        return None
    if code == UNRECORDED:
        return f"the disk was full or read-only, so that the worker's record could not be written; see {folder / LOG}"
    return describe_death(code) + ("" if code < 0 else f" and without a record; see {folder / LOG}")


def describe_timeout(config: Run) -> str:
    """Return why a run was stopped that took too long."""
    return f"stopped after launcher.timeout_s={config.launcher['timeout_s']:g} seconds"


def _work(folder: Path, config: Run) -> str | None:
    """Start a worker and wait; return None if it left a record, else why it could not."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "frostline.launchers.worker", str(folder / RESOLVED)],
        env=make_environment(share_threads(config.launcher["threads"], 1)),
        stdin=subprocess.DEVNULL,
        stdout=2,
        start_new_session=True,
    )
    try:
        return describe_exit(folder, process.wait(config.launcher["timeout_s"] or FOREVER_S))
    except subprocess.TimeoutExpired:
        return describe_timeout(config)
    finally:
        _end(process)


def share_threads(threads: int | None, workers: int) -> int:
    """Return the compute threads of each run: as configured, else the cores shared out among the workers."""
    if threads is not None:
        return threads
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, cores // workers)


def make_environment(threads: int) -> dict[str, str]:
    """Return a worker's environment: no rank of ours or of a launcher's may leak into it.

    What torch.compile keeps from run to run, pickles and programs, lies in the user's own folder: torch's choice is one
    below /tmp by the user's name, which anybody could have made before.
    OpenBLAS has one thread, for NumPy has nothing to do that would pay for more, and they would stand in the way
    of forking (`frostline.launchers.pool.launcher`).
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in RANK_VARIABLES and not name.startswith(RANK_PREFIXES)
    }
    compiled = str(Path("~/.cache/frostline/compiled").expanduser())
    own = {**MEMORY, **WORKSPACE, "TORCHINDUCTOR_CACHE_DIR": compiled}
    return {**own, **kept, SAFE: "1", "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}


def _end(process: subprocess.Popen) -> None:
    """Ask a worker's process group to stop, and kill what is left of it after a while."""
    if process.poll() is None:
        end_group(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            pass
    end_group(process.pid, signal.SIGKILL)
    process.wait()
