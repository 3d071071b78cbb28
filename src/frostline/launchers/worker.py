"""The worker: reads a resolved config and nothing else, trains, and leaves a record.

It is the process of a run. Where the run has several ranks it leads: it starts them, as workers too, and makes
the record from the status that each leaves.
"""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from frostline.config.schema import Run
from frostline.config.secrets import make_mask
from frostline.errors import UserError
from frostline.files.atomic import WriteError, give_up_reserve, name_write_errors, reserve_room
from frostline.processes.lifetime import exit_process, kill_children
from frostline.processes.stopping import Interrupted, ignore_signals, stopping_on_signals
from frostline.ranks.place import (
    clear_statuses,
    count_ranks,
    find_first_failure,
    find_place,
    leave_status,
    read_statuses,
)
from frostline.results.log import list_incomplete_logs, log_to
from frostline.results.owner import release_folder, take_folder
from frostline.results.record import Record, read_versions
from frostline.results.store import DECIDED, ENDED, FINAL, LOG, RECORD, UNRECORDED, check_unchanged, read_sound_record

log = logging.getLogger("frostline.launchers.worker")
LEFT_S = 10.0


def main(path: Path) -> int:
    """Be the process of one run, or one rank of it; stop early where the process that asked for it is gone.

    Return the exit code to ``exit_process`` with.
    """
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    here = find_place()
    return run(path) if here is None else take_part(path, here.rank)


def run(path: Path) -> int:
    """Run what ``path`` (a run's ``resolved.yaml``) says and leave a record; return one of the exit codes ``ENDED``.

    What it changes in this process (handlers of signals and logs) it puts back.
    """
    return _own(path, lambda config, folder: (attempt if count_ranks(config) == 1 else lead_ranks)(config, folder))


def lead(path: Path, execute: Callable[[Run, Path], Mapping[int, int]]) -> int:
    """Be the process of a run of which ``execute`` starts the ranks; it returns exit codes, by rank, that it knows of.

    As ``run``; SystemExit and KeyboardInterrupt out of ``execute`` pass through, and leave no record.
    """
    return _own(path, lambda config, folder: gather_record(config, folder, execute(config, folder)))


def _own(path: Path, execute: Callable[[Run, Path], Record]) -> int:
    with stopping_on_signals():
        try:
            return do_run(Run.read(yaml.safe_load(path.read_text())), path.parent, execute)
        finally:
            kill_children()


def do_run(config: Run, folder: Path, execute: Callable[[Run, Path], Record]) -> int:
    """Do a run in this process by ``execute``, and leave a record however it ends; return one of ``ENDED``.

    ``folder`` is the run's, made by `dispatch.make_run_folder`; it is claimed meanwhile: another worker on this machine
    is waited for. What is logged goes to its log.txt. ``execute`` is `attempt`, or that with objects which no
    YAML can hold. No handler of a signal is set: what is asked of a worker's process is not for
    everybody's. KeyboardInterrupt is recorded as an interruption, and raised again.
    """
    with log_to(folder / LOG, make_mask(config.plain())):
        try:
            claim_folder(folder)
        except Interrupted:
            return 1  # another worker has the run, and will leave its record
        try:
            return work(config, folder, execute)
        finally:
            release_folder(folder)


def work(config: Run, folder: Path, execute: Callable[[Run, Path], Record]) -> int:
    """Make sure that a run of our own has a record; return the exit code.

    Where the disk takes none the terminal says so, and whoever has started this process finds none.
    """
    if not config.force and (before := read_sound_record(folder)) is not None and before["status"] in FINAL:
        return exit_code(before["status"])
    try:
        clear_folder(folder, config.force)
        reserve_room(folder)
        check_unchanged(config, folder)
        record = execute(config, folder)
    except UserError as error:
        log.error("%s", error)
        record = _failure(config, folder, "failed", str(error), user_error=True)
    except Interrupted as stop:
        ignore_signals()  # asked once is enough
        record = _failure(config, folder, "interrupted", str(stop))
    except KeyboardInterrupt:
        _failure(config, folder, "interrupted", "stopped by Ctrl-C").write(folder)
        raise
    except WriteError as error:
        log.error("%s", error)
        record = _failure(config, folder, "failed", str(error))
    try:
        record = replace(record, notes=[*record.notes, *list_incomplete_logs()]).write(folder)
    except WriteError as error:
        log.error("%s", error)
        return UNRECORDED
    return exit_code(record.status, record.user_error)


def exit_code(status: str, user_error: bool = False) -> int:
    """Return what tells a dispatcher that there is a record, and roughly which."""
    done, mistake, other = ENDED
    return done if status == "done" else mistake if user_error else other


def clear_folder(folder: Path, everything: bool) -> None:
    """Remove an earlier sitting's record; ``everything`` removes what it learned too, so that the run starts anew."""
    with name_write_errors(folder):
        (folder / RECORD).unlink(missing_ok=True)
        clear_statuses(folder)
        if everything:
            for path in (folder / "metrics.csv", *(folder / "checkpoints").glob("*")):
                path.unlink(missing_ok=True)


def lead_ranks(config: Run, folder: Path) -> Record:
    """Return the record of a run of several ranks on this machine, however it ends (short of an interruption)."""
    from frostline.launchers.spawn import run_ranks

    try:
        return gather_record(config, folder, run_ranks(config, folder))
    except UserError as error:
        log.error("%s", error, exc_info=config.debug)
        return _failure(config, folder, "failed", str(error), user_error=True)


def gather_record(config: Run, folder: Path, exits: Mapping[int, int]) -> Record:
    """Return the record of a run whose ranks have ended: that of rank 0, or of the rank that failed first."""
    statuses = read_statuses(folder)
    rank = find_first_failure(statuses, exits)
    if rank is None and 0 in statuses:
        return Record.read(statuses[0])
    if rank is None or rank not in statuses:
        how = "left no word" if rank is None else describe_death(exits[rank], f"rank {rank}")
        return _failure(config, folder, "failed", f"{how}; see {folder / LOG}")
    found = replace(Record.read(statuses[rank]), config=config.plain())
    if found.status in DECIDED:  # which all ranks are together
        return found
    return replace(found, reason=f"rank {rank}: {found.reason}")


def take_part(path: Path, rank: int) -> int:
    """Be one rank of a run: train with the others, and leave a status; return the exit code."""
    folder = path.parent
    config = Run.read(yaml.safe_load(path.read_text()))
    _end_in_time(config, folder, rank)
    with stopping_on_signals(), log_to(folder / LOG, make_mask(config.plain())):
        try:
            record = attempt(config, folder)
            ignore_signals()  # what comes now is the leader's answer to how the others ended
        except Interrupted as stop:
            ignore_signals()
            record = _failure(config, folder, "interrupted", str(stop))
        try:
            leave_status(folder, rank, record.plain())
        except WriteError as refused:
            give_up_reserve(folder)
            record = record.cut_short(refused)
            leave_status(folder, rank, record.plain())
        kill_children()
    return exit_code(record.status, record.user_error)


def _end_in_time(config: Run, folder: Path, rank: int) -> None:
    """Leave this process some seconds after SIGTERM, even when it hangs in a collective and no handler can run."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # what a loader's process is told is its own

    def watch() -> None:
        while signal.SIGTERM not in os.read(read, 64):
            pass
        time.sleep(LEFT_S)
        if rank not in read_statuses(folder):
            leave_status(folder, rank, _failure(config, folder, "interrupted", "stopped by SIGTERM").plain())
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def attempt(config: Run, folder: Path, given: Mapping[str, Any] = MappingProxyType({})) -> Record:
    """Return the record of a run, however it ends (short of an interruption).

    ``given`` are objects in place of what the config names: see `run_experiment`.
    """
    import frostline.processes.imports  # noqa: F401 (before Lightning)
    from frostline.runs.experiment import run_experiment
    from frostline.training.journal import Paused, Pruned
    from frostline.training.module import Diverged

    interrupts = signal.getsignal(signal.SIGINT)
    try:
        if find_place() is None:  # a rank has its share of them already
            set_threads(config.launcher["threads"])
        return run_experiment(config, folder.name, folder, given)
    except UserError as error:
        log.error("%s", error, exc_info=config.debug)
        return _failure(config, folder, "failed", str(error), user_error=True)
    except (Exception, SystemExit) as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # of which Lightning makes an exit, deaf to the next one
            signal.signal(signal.SIGINT, interrupts)
            raise KeyboardInterrupt from error
        status = {Diverged: "diverged", Pruned: "pruned", Paused: "paused"}.get(type(error), "failed")
        if status in DECIDED:
            log.info("The run %s.", error)
            return _failure(config, folder, status, str(error))
        log.error("The run %s.", status, exc_info=True)
        return _failure(config, folder, status, f"{type(error).__name__}: {error}")


def _failure(config: Run, folder: Path, status: str, reason: str, user_error: bool = False) -> Record:
    plain = config.plain()
    hide = make_mask(plain)
    return Record(
        id=folder.name,
        status=status,
        config=plain,
        reason=hide(reason),
        traceback=hide(traceback.format_exc()) if sys.exception() else None,
        user_error=user_error,
        versions=read_versions(),
    )


def describe_death(code: int, who: str = "the worker") -> str:
    """Return what an exit code says of a process's end."""
    if code >= 0:
        return f"{who} ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"{who} was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def set_threads(threads: int | None) -> None:
    """Bound torch's threads, so that workers side by side do not fight for cores."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def claim_folder(folder: Path) -> None:
    """Make this process the run's only worker; wait for another one on this machine to end first."""
    while not take_folder(folder):
        time.sleep(0.2)


def _follow_parent(parent: int) -> None:
    """Stop when the process that started this one is gone: nobody would read the result."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
    os._exit(1)


if __name__ == "__main__":
    exit_process(main(Path(sys.argv[1])))
