"""What many tests do with a run: take its config through it in this process, and read the tables it leaves."""

import csv
from pathlib import Path
from typing import Any

from frostline.config.schema import Run
from frostline.ranks.numerics import restore_numerics
from frostline.results.store import read_record, run_folder, run_id
from frostline.runs.experiment import run_experiment


def finished(config: Run) -> tuple[dict[str, Any], Path]:
    """Run a config; return its record as it was written, and its folder."""
    folder = run_folder(Path(config.outputs), run_id(config))
    folder.mkdir(parents=True, exist_ok=True)
    with restore_numerics():  # which a worker does not need, and the next test does
        run_experiment(config, folder.name, folder).write(folder)
    record = read_record(folder)
    assert record is not None
    return record, folder


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
