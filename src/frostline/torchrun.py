"""Start the ranks of a run on this machine by torchrun, each a worker of its own."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.errors import UserError
from frostline.results.store import RESOLVED

SHUTDOWN_S = 15
"""What torchrun leaves a rank between SIGTERM and SIGKILL; a rank ends by itself before that."""


def check_devices(node: Mapping[str, Any]) -> None:
    """Refuse more GPUs than this machine has. Raises UserError."""
    import torch

    if node.get("accelerator") not in ("gpu", "cuda"):
        return
    wanted, there = node.get("devices", 1), torch.cuda.device_count()
    if there == 0:
        raise UserError("trainer.accelerator: there is no GPU here; trainer=ddp_cpu runs on processors.")
    if wanted > there:
        raise UserError(f"trainer.devices: {wanted} are more than the {there} GPUs that are visible here.")


def execute(config: dict[str, Any], folder: Path) -> dict[int, int]:
    """Start a rank for each device and wait; return the exit codes of those that failed first, by rank.

    ``launcher.restarts`` is how often torchrun starts all of them again, from the last checkpoint, after one has
    failed. Raises UserError for a run of several nodes.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    if config["trainer"].get("num_nodes", 1) > 1:
        raise UserError(
            f"trainer.num_nodes: {config['trainer']['num_nodes']} nodes take launcher=slurm; here is one machine."
        )
    check_devices(config["trainer"])
    devices = config["trainer"]["devices"]
    threads = config["launcher"]["threads"] or int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    os.environ["OMP_NUM_THREADS"] = str(max(1, threads // devices))
    # torch 2.14 keeps one store over restarts, with the addresses of the ranks that failed; so each start gets its own
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    flags = {
        "nproc-per-node": devices,
        "max-restarts": config["launcher"].get("restarts", 0),
        "rdzv-backend": "c10d",
        "rdzv-endpoint": "127.0.0.1:0",
        "rdzv-id": folder.name,
        "local-addr": "127.0.0.1",
        "shutdown-timeout": SHUTDOWN_S,
    }
    path = str((folder / RESOLVED).absolute())
    args = parse_args([*(f"--{name}={value}" for name, value in flags.items()), "-m", "frostline.worker", path])
    launch, entry, arguments = config_from_args(args)
    try:
        elastic_launch(launch, entry or sys.executable)(*arguments)
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    return dict.fromkeys(range(devices), 0)
