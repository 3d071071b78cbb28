"""On what a run is computed: what its record says of the machine, and what its times and memory depend on."""

import os
import platform
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from frostline.ranks.collectives import Ranks
from frostline.ranks.numerics import read_device_name


def describe_machine(device: torch.device, trainer: Mapping[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Return what the ranks of a run compute on, and how: plain values, in which no host is named.

    ``names`` has the GPU of each rank, or its processor; ``cpus`` is what rank 0 may use. All ranks call this.
    """
    found = ranks.gather_values([read_device_name(device) or read_processor_name(), socket.gethostname()])
    on_gpu = device.type == "cuda"
    return {
        "device": device.type,
        "names": [name for name, _ in found],
        "hosts": len({host for _, host in found}),
        "cpus": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": trainer.get("deterministic") or False,
        "benchmark": torch.backends.cudnn.benchmark,
    }


def read_processor_name() -> str:
    """Return what this machine's processor is called."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
