"""Tables that a run leaves, read back whatever has become of them since."""

import csv
from collections.abc import Iterator
from pathlib import Path

from frostline.files import irregular

MOST_LINE = 1 << 20


def read_rows(path: Path, columns: int | None = None) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file by column, of its first columns or of all, as far as it can be read.

    Nothing where there is no such file. Of one that is longer than memory no more than a line is held.
    """
    try:
        if irregular(path) is not None or not path.stat().st_size:  # as are the kernel's, which may be endless
            return
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            lines = csv.reader(iter(lambda: file.readline(MOST_LINE), ""))
            names = next(lines, [])[:columns]
            yield from (dict(zip(names, line, strict=False)) for line in lines if line)
    except (OSError, csv.Error):
        return
