"""Start the ranks of a run on this machine, each a worker of its own, and watch them."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.files.leftovers import private_folder
from frostline.processes.lifetime import end_group
from frostline.ranks.devices import check_devices
from frostline.ranks.place import clear_statuses, meet_by_file, rank_variables, read_statuses
from frostline.results.store import RESOLVED

log = logging.getLogger(__name__)
LOOK_S = 0.1
SHUTDOWN_S = 15.0
"""What a rank has between SIGTERM and SIGKILL; it ends by itself before that."""


def run_ranks(config: Run, folder: Path) -> dict[int, int]:
    """Start a rank for each device and wait; return the exit codes of those that ended by themselves, by rank.

    As soon as one has failed the others are stopped. ``launcher.restarts`` is how often all of them start again then,
    from the last checkpoint. Raises UserError for a run of several nodes.
    """
    if config.trainer.get("num_nodes", 1) > 1:
        raise UserError(
            f"trainer.num_nodes: {config.trainer['num_nodes']} nodes take launcher=slurm; here is one machine."
        )
    check_devices(config.trainer)
    exits, alive = _run_ranks(config, folder, 0)
    for start in range(1, config.launcher.get("restarts", 0) + 1):
        if not any(exits.values()):
            break
        log.warning("A rank has failed; all start again.")
        clear_statuses(folder)
        exits, alive = _run_ranks(config, folder, start)
    return drop_aborted(read_statuses(folder), exits, alive)


def _run_ranks(config: Run, folder: Path, start: int) -> tuple[dict[int, int], float]:
    """Let the ranks run until all have ended or one has failed; return their exit codes, and when all were last there.

    They meet by a file that only this user can open.
    """
    world = config.trainer["devices"]
    threads = config.launcher["threads"] or int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    shared = {"OMP_NUM_THREADS": str(max(1, threads // world)), "TORCHELASTIC_RESTART_COUNT": str(start)}
    words = [sys.executable, "-P", "-m", "frostline.launchers.worker", str((folder / RESOLVED).absolute())]
    ranks: list[subprocess.Popen] = []
    alive = time.time()
    with private_folder() as private:
        try:
            for rank in range(world):
                own = rank_variables(folder.name, rank, rank, world, world, 0, meet_by_file(private))
                given = {**os.environ, **shared, **own}
                ranks.append(subprocess.Popen(words, env=given, stdin=subprocess.DEVNULL, start_new_session=True))
            while True:
                exits = {rank: code for rank, one in enumerate(ranks) if (code := one.poll()) is not None}
                if any(exits.values()) or len(exits) == world:
                    return exits, alive
                alive = time.time()
                time.sleep(LOOK_S)
        finally:
            _stop(ranks)


def drop_aborted(statuses: Mapping[int, Mapping[str, Any]], exits: Mapping[int, int], alive: float) -> dict[int, int]:
    """Leave out ranks that NCCL has aborted since they had lost another, which had said before why it fails.

    ``alive`` is when all of them were last seen to be there.
    """
    failed = any(status["status"] != "done" and status["time"] < alive for status in statuses.values())
    lost = {rank for rank, code in exits.items() if code == -signal.SIGABRT and rank not in statuses}
    return {rank: code for rank, code in exits.items() if not (failed and rank in lost)}


def _stop(ranks: Sequence[subprocess.Popen]) -> None:
    """Ask the ranks that are on to stop, once; after a while kill them, and what loads data for them."""
    try:
        for one in ranks:
            if one.poll() is None:
                end_group(one.pid, signal.SIGTERM)
        deadline = time.monotonic() + SHUTDOWN_S
        while any(one.poll() is None for one in ranks) and time.monotonic() < deadline:
            time.sleep(LOOK_S)
    finally:
        for one in ranks:
            end_group(one.pid, signal.SIGKILL)
            one.wait()
