"""Heads that misbehave in the middle of a run, each in one way, and what a test asks of a worker's process."""

import atexit
import gc
import logging
import os
import random
import resource
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frostline.errors import UserError


class Faulty(nn.Linear):
    """A linear head that does ``how`` in its ``after``-th training step, on one rank where there are several."""

    solver = None

    def __init__(self, features: int, classes: int, how: str, after: int, rank: int = 0, dropout: float = 0.0):
        super().__init__(features, classes)
        mine = int(os.environ.get("RANK", rank)) == rank
        self.how, self.left = how, after if mine else 0
        self.dropout = nn.Dropout(dropout)

    def forward(self, input: Tensor) -> Tensor:
        self.left -= self.training
        if self.left == 0:
            HOW[self.how]()
        return super().forward(self.dropout(input))


def hang() -> None:
    """Wait for what never comes."""
    time.sleep(1000)


def hang_deaf() -> None:
    """Hang where no signal is looked at, as in a stuck driver."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    time.sleep(1000)


def use_up_memory() -> None:
    """Ask for more memory than this process may have: the kernel refuses it."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), resource.RLIM_INFINITY))
    torch.zeros(1 << 30).sum()


def start_child_and_hang() -> None:
    """Leave a process of one's own, as a hung data loader does."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    print(f"child {child}", flush=True)
    hang_deaf()


def leak() -> None:
    """Change whatever can be changed for the whole process."""
    os.environ["LEAKED"] = "yes"
    os.chdir("/")
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("always")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = not torch.backends.cudnn.allow_tf32
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)


def linger(how: str) -> None:
    """Do this, and then take two minutes to exit, as a library does that waits for a server or for other ranks."""
    atexit.register(time.sleep, 120)
    HOW[how]()


def tell_numerics() -> None:
    """Say how this process computes."""
    cudnn, mode = torch.backends.cudnn, torch.get_deterministic_debug_mode()
    said = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark, mode
    print("numerics", *said, os.environ["CUBLAS_WORKSPACE_CONFIG"], os.getpid(), flush=True)


def raise_once() -> None:
    """Fail unless the ranks have been started again by now."""
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        raise RuntimeError("the first time")


def stop_once() -> None:
    """Ask this process to stop, unless somebody did before."""
    mark = Path(os.environ["MARK"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGTERM)


HOW = {
    "stop once": stop_once,
    "once": raise_once,
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "nothing": lambda: None,
    "leak": leak,
    "tell": tell_numerics,
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "sys.exit": lambda: sys.exit(0),
    "raise": lambda: 1 / 0,
    "raise, and linger": lambda: linger("raise"),
    "SIGTERM, and linger": lambda: linger("SIGTERM"),
    "linger": lambda: linger("nothing"),
    "memory": use_up_memory,
    "hang": hang,
    "hang deaf": hang_deaf,
    "hang with a child": start_child_and_hang,
}


def state() -> dict[str, object]:
    """Return what a run could have changed in this process."""
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "handlers": [str(handler) for handler in logging.getLogger().handlers],
        "level": logging.getLogger().level,
        "filters": len(warnings.filters),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)],
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()),
        "modes": [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")],
        "determinism": torch.get_deterministic_debug_mode(),
        "precision": torch.get_float32_matmul_precision(),
        "benchmark": torch.backends.cudnn.benchmark,
        "tf32": torch.backends.cudnn.allow_tf32,
        "random": [
            torch.get_rng_state().sum().item(),
            random.getstate()[1][0],
            int(np.random.get_state(legacy=False)["state"]["key"].sum()),
        ],
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "networks": sum(issubclass(type(found), nn.Module) for found in gc.get_objects()),
    }


def refuse(word: str) -> None:
    """Be a user's mistake."""
    raise UserError(f"word: {word!r} is invalid.")


def two() -> int:
    """Be a machine with two GPUs."""
    return 2


class Stuck(nn.Module):
    """An augmentation that hangs in the process that loads data, and does not listen."""

    def forward(self, image: Tensor) -> Tensor:
        hang_deaf()
        return image


def extract_slowly(*arguments: Any) -> Any:
    """Fill caches as a worker does, with a second more for each pass."""
    from frostline.features import prefix
    from frostline.runs.survey import extract

    def slow(*parts: Any) -> int:
        time.sleep(1)
        return real(*parts)

    real, prefix.run_pass = prefix.run_pass, slow
    try:
        return extract(*arguments)
    finally:
        prefix.run_pass = real
