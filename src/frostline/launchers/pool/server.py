"""The fork server: a process that has paid for the imports of a run, and of which each worker is a fork."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, util

from frostline.files.leftovers import make_private_folder

# What a run imports sooner or later. The fork server imports it once; a new worker is a fork of it. Left out is what
# may start a thread when it is imported (scikit-learn, by way of pandas and pyarrow): a fork would not have it.
PRELOAD = (
    "frostline.launchers.pool.warm",
    "frostline.run.experiment",
    "frostline.backbones.traced.builders",
    "frostline.data.image.datasets",
    "frostline.data.image.published",
    "frostline.freeze.strategies",
)


def start_server(variables: Mapping[str, str]) -> None:
    """Start this process's fork server, which imports in the background, unless it runs already.

    Its environment is set here: some of it (glibc's, OpenMP's) is read only when a program starts. What a killed
    worker leaves behind, Python's resource tracker removes, and need not say so.
    """
    _give_folder()
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOAD))
    quiet = ",".join(filter(None, (variables.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning")))
    with _environment({**variables, "PYTHONWARNINGS": quiet}), _deaf():
        forkserver.ensure_running()


def _give_folder() -> None:
    """Have multiprocessing put its sockets, the workers' too, where the next command finds what a kill leaves."""
    config: dict = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if "tempdir" not in config:
        config["tempdir"] = str(made := make_private_folder())
        util.Finalize(None, shutil.rmtree, args=(made, True), exitpriority=-100)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _deaf() -> Iterator[None]:
    """Let what is started here be deaf to Ctrl-C from its first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
