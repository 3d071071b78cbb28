"""A warm worker: one process that does one run after another, each as if it were the first.

Who starts workers imports this too, and has no torch: it is imported where it is used, and is there already.
"""

import ctypes
import gc
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from frostline.launchers.calls import call_by_name
from frostline.launchers.worker import run as run_once
from frostline.processes.environment import replace_environment
from frostline.processes.import_path import leave_out_working_directory
from frostline.processes.stopping import stopping_on_signals
from frostline.results.log import open_log
from frostline.results.store import LOG

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
LEFT_S = 10.0

_shared: tuple[Any, Any] | None = None  # with the pool: the process that does its present work, and its fork server


def start(number: Any, environment: Mapping[str, str], threads: int, device: str | None, server: Any) -> None:
    """Begin as a worker: a process group, an environment, threads and, by name, an accelerator of its own.

    Nothing may have touched CUDA before.
    """
    import torch

    global _shared
    _shared = number, server
    os.setsid()
    replace_environment(environment)
    leave_out_working_directory()  # the pool's process has sent its path
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    torch.set_num_threads(threads)
    gc.freeze()  # the imported modules live as long as the process: to look through them again takes 0.4 s a time
    threading.Thread(target=_follow_pool, daemon=True).start()


def run(path: str) -> int:
    """Do one run in this process; return its exit code. What it says goes to its ``log.txt``."""
    _sign()
    with restoring_process(), output_to(Path(path).parent / LOG):
        return run_once(Path(path))


def call(name: str, *arguments: Any) -> Any:
    """Return what the function of a name returns for these arguments."""
    _sign()
    with restoring_process(), stopping_on_signals():
        return call_by_name(name, *arguments)


def count_gpus() -> int:
    """Return how many GPUs torch sees."""
    import torch

    return torch.cuda.device_count()


def _sign() -> None:
    """Tell the pool which process does its work."""
    assert _shared is not None
    _shared[0].value, _shared[1].value = os.getpid(), os.getppid()


@contextmanager
def restoring_process() -> Iterator[None]:
    """Put back what a run sets for its whole process, and let go of its memory."""
    environment = dict(os.environ)
    settings = [(setter, getter()) for getter, setter in _settings()]
    handlers = [(number, signal.getsignal(number)) for number in SIGNALS]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        replace_environment(environment)
        for setter, value in settings:
            setter(value)
        for number, handler in handlers:
            signal.signal(number, handler)
        _free_memory()


def _settings() -> Sequence[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Return what a run can set for the whole process (Lightning does, from keys of `trainer`): getters and setters."""
    import numpy as np
    import torch

    from frostline.ranks.numerics import SETTINGS

    root = logging.getLogger()
    return (
        (torch.get_rng_state, torch.set_rng_state),
        (np.random.get_state, np.random.set_state),
        (random.getstate, random.setstate),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_default_dtype, torch.set_default_dtype),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        *SETTINGS,
        (os.getcwd, os.chdir),
        (lambda: root.handlers[:], lambda value: setattr(root, "handlers", value)),
    )


def _free_memory() -> None:
    """Free the last run's networks and data, so that they are not counted into the next one's memory."""
    import torch

    from frostline.ranks.collectives import leave_process_group

    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    leave_process_group()  # DDP has one on one device too
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # glibc was told to keep it, see dispatch.MEMORY
    if torch.cuda.is_initialized():
        torch._C._cuda_clearCublasWorkspaces()  # 34 MB of each stream that `WORKSPACE` asks for; torch's tests do it so
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Append to a file whatever this process and its children write to stdout and stderr."""
    file, kept = open_log(path), (os.dup(1), os.dup(2))
    _point(file, file)
    os.close(file)
    try:
        yield
    finally:
        _point(*kept)
        for handle in kept:
            os.close(handle)


def _point(out: int, err: int) -> None:
    """Make these files this process's stdout and stderr."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the log's disk may be full
            stream.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)


def _follow_pool() -> None:
    """Stop when the pool's process is gone: nobody would read the result."""
    pool = parent_process()
    assert pool is not None
    pool.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LEFT_S)
    os.killpg(os.getpid(), signal.SIGKILL)
