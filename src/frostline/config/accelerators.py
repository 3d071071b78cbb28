"""Which kind of device a run trains on: known before its ID is made, and without importing torch."""

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from frostline.config.schema import Run
from frostline.errors import UserError

KINDS = ("cpu", "cuda", "mps")
ELSEWHERE = {
    "frostline.launchers.slurm.launcher.Slurm": ("slurm", "gpus_per_node"),
    "frostline.launchers.ray.launcher.Ray": ("ray", "gpus"),
}
"""Launchers that choose the machine, and their key that asks it for GPUs."""

WORKSPACE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""What cuBLAS needs to be deterministic. It reads it once in a process, so every worker has it from its start."""

# A process of its own asks, for one that has could not fork any more. The driver heeds CUDA_VISIBLE_DEVICES.
ASK_DRIVER = """
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
count, version = ctypes.c_int(), ctypes.c_int()
driver.cuDriverGetVersion(ctypes.byref(version))
failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
print(0 if failed else count.value, version.value)
"""
ASK_TORCH = """
import torch
print("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
"""


def settle_accelerator(trainer: Mapping[str, Any], launcher: Mapping[str, Any]) -> str:
    """Return the kind of device, one of ``KINDS``, that ``trainer.accelerator`` means where the launcher runs it.

    ``auto`` is the best that is visible here; of machines that are not known yet it is what the launcher asks them for.
    Raises UserError where nothing says it, and where a GPU's driver is too old.
    """
    asked = trainer.get("accelerator", "auto")
    if asked in KINDS:
        return str(asked)
    name, key = ELSEWHERE.get(str(launcher.get("_target_")), ("", ""))
    given = launcher.get(key)
    if name and asked == "auto" and given is not None:
        return "cuda" if given else "cpu"
    if not name or (name == "ray" and launcher.get("address") is None):  # a cluster of our own is this machine
        found = find_accelerator()
        return "cuda" if asked == "gpu" and found == "cpu" else found  # there the run itself says that there is none
    if asked == "auto":
        raise UserError(
            f"trainer.accelerator: auto does not say what launcher={name} is to ask the cluster for; use "
            f"trainer.accelerator=gpu or trainer.accelerator=cpu."
        )
    return "cuda"


def count_gpus(config: Run) -> int:
    """Return how many GPUs a run takes on each of its nodes."""
    trainer = config.trainer
    return 0 if trainer.get("accelerator") == "cpu" else trainer.get("devices", 1)


def find_accelerator() -> str:
    """Return the best kind of device that this process may see, for the torch that is installed."""
    cuda, hip = read_torch_build()
    if hip or sys.platform == "darwin":
        return ask_torch()
    if cuda is None:
        return "cpu"
    count, driver = ask_driver(os.environ.get("CUDA_VISIBLE_DEVICES"))
    if count and driver < int(cuda.partition(".")[0]):
        raise UserError(
            f"trainer.accelerator: the driver of the GPUs here is for CUDA {driver}, and this torch needs CUDA {cuda}; "
            "install a newer driver or a torch for the older one, or use trainer.accelerator=cpu."
        )
    return "cuda" if count else "cpu"


def read_torch_build() -> tuple[str | None, str | None]:
    """Return the versions of CUDA and of ROCm that the installed torch was built with, without importing it."""
    spec = find_spec("torch")
    assert spec is not None and spec.origin is not None
    text = Path(spec.origin).with_name("version.py").read_text()
    cuda, hip = (re.search(rf"^{name}\b.*= ['\"](.+)['\"]$", text, re.MULTILINE) for name in ("cuda", "hip"))
    return cuda and cuda[1], hip and hip[1]


@lru_cache
def ask_driver(visible: str | None) -> tuple[int, int]:
    """Return how many GPUs of NVIDIA are visible, and the first number of the newest CUDA that the driver can run.

    ``visible`` is the value of CUDA_VISIBLE_DEVICES. A driver that cannot start has no GPUs.
    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, 0
    words = _ask(ASK_DRIVER, "-S").split()  # -S: it needs the standard library alone
    return (int(words[0]), int(words[1]) // 1000) if len(words) == 2 else (0, 0)


@lru_cache
def ask_torch() -> str:
    """Return the best kind of device that torch finds, which takes seconds to ask."""
    said = _ask(ASK_TORCH).strip()
    return said if said in KINDS else "cpu"


def _ask(program: str, *options: str) -> str:
    words = [sys.executable, "-I", *options, "-c", program]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
