"""The worker: reads a resolved config and nothing else, trains, and leaves a record."""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from frostline.errors import UserError
from frostline.results.record import Record, versions
from frostline.results.store import ENDED, FINAL, LOG, RECORD, read_record

log = logging.getLogger("frostline.worker")
OWNER = "owner.json"


class Interrupted(BaseException):
    """The worker was asked to stop; not an Exception, so that nothing on the way swallows it."""


def main(path: Path) -> int:
    """Run what ``path`` (a run's ``resolved.yaml``) says and leave a record; return one of the exit codes ``ENDED``."""
    folder = path.parent
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    start_logging(folder)
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
        record = Record(id=folder.name, status="interrupted", config=config, reason=str(stop), versions=versions())
    record.write(folder)
    return exit_code(record.status, record.user_error)


def exit_code(status: str, user_error: bool = False) -> int:
    """Return what tells a dispatcher that there is a record, and roughly which."""
    done, mistake, other = ENDED
    return done if status == "done" else mistake if user_error else other


def clear(folder: Path, everything: bool) -> None:
    """Remove an earlier sitting's record; ``everything`` removes its checkpoints too, so that the run starts anew."""
    (folder / RECORD).unlink(missing_ok=True)
    if everything:
        for path in (folder / "checkpoints").glob("*"):
            path.unlink()


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
    except Exception as error:
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


def start_logging(folder: Path) -> None:
    """Log everything to the run's ``log.txt``, and Frostline's own messages to the terminal as well."""
    file = logging.FileHandler(folder / LOG)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    terminal.addFilter(lambda entry: entry.name.startswith("frostline") and not entry.exc_info)
    logging.basicConfig(level=logging.INFO, handlers=[file, terminal])
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
    for chatty in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric", "pytorch_lightning"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def claim(folder: Path) -> None:
    """Make this process the run's only worker; wait for another one on this machine to end first."""
    path = folder / OWNER
    while True:
        try:
            with path.open("x") as file:
                json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
            return
        except FileExistsError:
            if not _alive(path):
                path.unlink(missing_ok=True)
            time.sleep(0.2)


def release(folder: Path) -> None:
    """Let another process have the run."""
    (folder / OWNER).unlink(missing_ok=True)


def _alive(path: Path) -> bool:
    """Return whether the worker named in an owner file still runs; one on another machine is taken to be dead."""
    try:
        owner = json.loads(path.read_text())
        if owner["host"] != socket.gethostname():
            return False
        os.kill(owner["pid"], 0)
        words = Path(f"/proc/{owner['pid']}/cmdline")
        return not words.exists() or b"frostline" in words.read_bytes()
    except (OSError, ValueError, KeyError):
        return False


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
