"""A run's log.txt, which a full disk ends without a word too many."""

import logging
import os
from pathlib import Path

from frostline.files import irregular


class LogFile(logging.Handler):
    """Appends to a file; what the system refuses to write is left out, and ``refused`` says why.

    Python's own handler would print a traceback for each line that a full disk does not take.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.refused = path, None
        self.file: int | None = None
        try:
            if (what := irregular(path)) is not None:
                raise OSError(f"it {what}")
            self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
        """Whether what this process prints goes to the file anyway."""
        return self.file is not None and os.path.sameopenfile(2, self.file)


def left_out() -> list[str]:
    """Return a sentence for each log that this process could not write as a whole."""
    found = [one for one in logging.getLogger().handlers if isinstance(one, LogFile)]
    return [f"{one.path.name} is not whole ({one.refused.strerror or one.refused})." for one in found if one.refused]
