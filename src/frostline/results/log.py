"""A run's log.txt, which a full disk ends without an error for each line."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from frostline.files.atomic import describe_irregular
from frostline.ranks.place import find_place

EXPECTED = (
    "in eval mode at the start of training",
    "isinstance.treespec, LeafSpec",
    "The `srun` command",
    "broadcast_buffers. is deprecated",
    "It is recommended to use `self.log",  # of what is the same on all ranks
)
"""Warnings of Lightning and torch that say nothing to a user here."""


def open_log(path: Path) -> int:
    """Return a descriptor that appends to a file. Raises OSError, for what is no file as well."""
    if (what := describe_irregular(path)) is not None:
        raise OSError(f"it {what}")
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


class LogFile(logging.Handler):
    """Appends to a file; what the system refuses to write is left out, and ``refused`` says why.

    Python's own handler would print a traceback for each line that a full disk does not take.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.refused = path, None
        self.file: int | None = None
        try:
            self.file = open_log(path)
        except OSError as error:
            self.refused = error

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return
        if self.file is None:
            return
        try:
            os.write(self.file, line.encode(errors="backslashreplace"))
        except OSError as error:
            self.refused = error

    def close(self) -> None:
        if self.file is not None:
            os.close(self.file)
            self.file = None
        super().close()

    @property
    def is_terminal(self) -> bool:
        """Whether whatever this process prints goes to the file already."""
        return self.file is not None and os.path.sameopenfile(2, self.file)


def list_incomplete_logs() -> list[str]:
    """Return a sentence for each log that this process could not write as a whole."""
    found = [one for one in logging.getLogger().handlers if isinstance(one, LogFile)]
    return [f"{one.path.name} is not whole ({one.refused.strerror or one.refused})." for one in found if one.refused]


@contextmanager
def log_to(path: Path, hide: Callable[[str], str] = str) -> Iterator[None]:
    """Log everything to a run's ``log.txt``, and Frostline's own messages to the terminal as well.

    ``hide`` masks each entry.
    """
    root = logging.getLogger()
    level = root.level
    with closing(LogFile(path)) as file, warnings.catch_warnings():
        added = _handlers(file, hide)
        for handler in added:
            root.addHandler(handler)
        root.setLevel(logging.INFO)
        for chatty in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric", "pytorch_lightning"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        logging.captureWarnings(True)
        for known in EXPECTED:
            warnings.filterwarnings("ignore", message=f".*{known}.*")
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.setLevel(level)
            for handler in added:
                root.removeHandler(handler)


class Masked(logging.Formatter):
    """A format that masks what it has made, tracebacks included."""

    def __init__(self, layout: str, hide: Callable[[str], str]) -> None:
        super().__init__(layout)
        self.hide = hide

    def format(self, record: logging.LogRecord) -> str:
        return self.hide(super().format(record))


def _handlers(file: LogFile, hide: Callable[[str], str]) -> list[logging.Handler]:
    """Return the handlers for a log and for the terminal; one does where stderr goes to the log already."""
    here = find_place()
    who = "" if here is None else f"rank {here.rank} "
    file.setFormatter(Masked(f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s", hide))
    if file.is_terminal:
        return [file]
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(Masked("%(message)s", hide))
    spoken = here is None or here.rank == 0
    terminal.addFilter(lambda entry: spoken and entry.name.startswith("frostline") and not entry.exc_info)
    return [file, terminal]
