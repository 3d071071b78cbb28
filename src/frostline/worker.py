"""The worker: reads a resolved config and nothing else, trains, and leaves a record."""

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import yaml

from frostline.errors import UserError
from frostline.results.owner import release, take
from frostline.results.record import Record, versions
from frostline.results.store import ENDED, FINAL, LOG, RECORD, read_record

log = logging.getLogger("frostline.worker")


class Interrupted(BaseException):
    """The worker was asked to stop; not an Exception, so that nothing on the way swallows it."""


def main(path: Path) -> int:
    """Be the process of one run: do it, and stop early where the process that asked for it is gone."""
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    return run(path)


def run(path: Path) -> int:
    """Run what ``path`` (a run's ``resolved.yaml``) says and leave a record; return one of the exit codes ``ENDED``.

    What it changes in this process (handlers of signals and logs) it puts back.
    """
    folder = path.parent
    with interruptible(), logging_to(folder / LOG):
        config = yaml.safe_load(path.read_text())
        try:
            claim(folder)
        except Interrupted:
            return 1  # another worker has the run, and will leave its record
        try:
            return work(config, folder)
        finally:
            release(folder)


def work(config: dict[str, Any], folder: Path) -> int:
    """Make sure that a run of our own has a record; return the exit code."""
    before = read_record(folder)
    if before is not None and before["status"] in FINAL and not config["force"]:
        return exit_code(before["status"])
    try:
        clear(folder, config["force"])
        record = attempt(config, folder)
    except Interrupted as stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # asked once is enough
        record = _failure(config, folder, "interrupted", str(stop))
    record.write(folder)
    return exit_code(record.status, record.user_error)


def exit_code(status: str, user_error: bool = False) -> int:
    """Return what tells a dispatcher that there is a record, and roughly which."""
    done, mistake, other = ENDED
    return done if status == "done" else mistake if user_error else other


def clear(folder: Path, everything: bool) -> None:
    """Remove an earlier sitting's record; ``everything`` removes what it learned too, so that the run starts anew."""
    (folder / RECORD).unlink(missing_ok=True)
    if everything:
        for path in (folder / "metrics.csv", *(folder / "checkpoints").glob("*")):
            path.unlink(missing_ok=True)


def attempt(config: dict[str, Any], folder: Path) -> Record:
    """Return the record of a run, however it ends (short of an interruption)."""
    from frostline.experiment import run_experiment
    from frostline.training.module import Diverged

    try:
        set_threads(config["launcher"]["threads"])
        return run_experiment(config, folder.name, folder)
    except UserError as error:
        log.error("%s", error, exc_info=config["debug"])
        return _failure(config, folder, "failed", str(error), user_error=True)
    except (Exception, SystemExit) as error:
        status = "diverged" if isinstance(error, Diverged) else "failed"
        log.exception("The run %s.", status)
        return _failure(config, folder, status, f"{type(error).__name__}: {error}")


def _failure(config: dict[str, Any], folder: Path, status: str, reason: str, user_error: bool = False) -> Record:
    return Record(
        id=folder.name, status=status, config=config, reason=reason, user_error=user_error, versions=versions()
    )


def set_threads(threads: int | None) -> None:
    """Bound torch's threads, so that workers side by side do not fight for cores."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Log everything to a run's ``log.txt``, and Frostline's own messages to the terminal as well."""
    root = logging.getLogger()
    level = root.level
    with path.open("a") as stream, warnings.catch_warnings():
        added = _handlers(stream)
        for handler in added:
            root.addHandler(handler)
        root.setLevel(logging.INFO)
        for chatty in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric", "pytorch_lightning"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        logging.captureWarnings(True)
        warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.setLevel(level)
            for handler in added:
                root.removeHandler(handler)


def _handlers(stream: TextIO) -> list[logging.Handler]:
    """Return the handlers for a log and for the terminal; one does where stderr goes to the log already."""
    file = logging.StreamHandler(stream)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if os.path.sameopenfile(2, stream.fileno()):
        return [file]
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    terminal.addFilter(lambda entry: entry.name.startswith("frostline") and not entry.exc_info)
    return [file, terminal]


def claim(folder: Path) -> None:
    """Make this process the run's only worker; wait for another one on this machine to end first."""
    while not take(folder):
        time.sleep(0.2)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM raise Interrupted."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(f"stopped by {signal.Signals(number).name}")


def _follow_parent(parent: int) -> None:
    """Stop when the process that started this one is gone: nobody would read the result."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
