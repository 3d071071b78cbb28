"""The fork server: it imports what a run needs, once; each worker is a fork of it."""

import io
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, popen_forkserver, reduction, spawn, util
from multiprocessing.context import ForkServerContext, ForkServerProcess, set_spawning_popen
from multiprocessing.process import BaseProcess

from frostline.files.leftovers import make_private_folder
from frostline.processes.environment import replace_environment, restoring_environment

# What a run imports sooner or later. The fork server imports it once; a new worker is a fork of it. Left out is what
# may start a thread when it is imported (scikit-learn, by way of pandas and pyarrow): a fork would not have it.
PRELOAD = (
    "frostline.processes.imports",  # before Lightning
    "frostline.launchers.pool.warm",
    "frostline.runs.experiment",
    "frostline.backbones.traced.builders",
    "frostline.data.image.datasets",
    "frostline.data.image.published",
    "frostline.freeze.strategies",
)
SERVER = forkserver.ForkServer()
"""The one of this process. It is not that of multiprocessing: a program that uses Frostline may use that one itself."""


def start_server(variables: Mapping[str, str]) -> None:
    """Start this process's fork server, which imports in the background, unless it runs already.

    Its environment is set here: some of it (glibc's, OpenMP's) is read only when a program starts. What a killed
    worker leaves behind, Python's resource tracker removes, and need not say so.
    """
    _give_folder()
    SERVER.set_forkserver_preload(list(PRELOAD))
    quiet = ",".join(filter(None, (variables.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning")))
    with _environment({**variables, "PYTHONWARNINGS": quiet}), _ignoring_interrupts():
        SERVER.ensure_running()


class WorkerProcess(ForkServerProcess):
    """A fork of our own server."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> "_Popen":
        return _Popen(process_obj)


class WorkerContext(ForkServerContext):
    """What multiprocessing, and pebble on top of it, make processes by."""

    Process = WorkerProcess  # type: ignore[assignment]


class _Popen(popen_forkserver.Popen):
    """Makes a process as multiprocessing does, but for two things: by our own server, and without ``__main__``.

    Multiprocessing has each process run the program's script first, up to its `if __name__ == "__main__"`. A script
    that calls `frostline.compare` without that line would start over in every worker.
    """

    def _launch(self, process_obj: BaseProcess) -> None:
        prepared = spawn.get_preparation_data(process_obj.name)
        plain = {key: value for key, value in prepared.items() if not key.startswith("init_main_from_")}
        content = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(plain, content)
            reduction.dump(process_obj, content)
        finally:
            set_spawning_popen(None)
        self.sentinel, writing = SERVER.connect_to_new_process(self._fds)  # type: ignore[attr-defined]
        kept = os.dup(writing)  # the process ends when its parent's end is gone
        self.finalizer = util.Finalize(
            self,
            util.close_fds,  # type: ignore[attr-defined]
            (kept, self.sentinel),
        )
        with open(writing, "wb") as pipe:
            pipe.write(content.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


def _give_folder() -> None:
    """Have multiprocessing put its sockets, the workers' too, where the next command finds what a kill leaves."""
    config: dict = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if "tempdir" not in config:
        config["tempdir"] = str(made := make_private_folder())
        util.Finalize(None, shutil.rmtree, args=(made, True), exitpriority=-100)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    with restoring_environment():
        replace_environment(variables)
        yield


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Let what is started here ignore Ctrl-C from its first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
