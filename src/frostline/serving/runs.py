"""Which run a user means, by its folder, its ID or the first digits of it."""

import json
from pathlib import Path
from typing import Any

from frostline.errors import UserError
from frostline.results.store import RECORD, read_record

SHOWN = 5


def find_run(name: str, outputs: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the record of a run that is done.

    ``name`` is a folder, a record.json, or the beginning of an ID below ``outputs``. Raises UserError where it is no
    run, several, or one that is not done.
    """
    folder = _folder(name, outputs)
    try:
        record = read_record(folder)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / RECORD} is damaged ({error}); run it again.") from error
    if record is None:
        raise UserError(f"{folder} holds no {RECORD}: the run has not ended, or this is no run's folder.")
    if record.get("status") != "done":
        raise UserError(f"{folder}: this run is {record.get('status')}, not done; choose another, or run it again.")
    missing = [key for key in ("task", "adapter") if key not in record["config"]]
    if missing:
        raise UserError(f"{folder}: this run was made by an earlier Frostline (no {missing[0]}); run it again.")
    return folder, record


def _folder(name: str, outputs: Path) -> Path:
    path = Path(name).expanduser()
    if path.name == RECORD and path.is_file():
        return path.parent
    if path.is_dir():
        return path
    runs = outputs / "runs"
    found = sorted(one for one in runs.iterdir() if one.name.startswith(name)) if runs.is_dir() and name else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"RUN: {name!r} is neither a folder nor a run in {runs}; frostline list {outputs} shows them.")
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    names = ", ".join(one.name for one in found[:SHOWN])
    raise UserError(f"RUN: {name!r} is the beginning of several runs: {names}{more}; give more of it.")
