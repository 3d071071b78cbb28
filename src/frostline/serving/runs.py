"""Which run a user means, by its folder, its ID or the first digits of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from frostline.config.schema import COMPONENTS, Run, check_config
from frostline.errors import UserError
from frostline.files.shapes import check_shape
from frostline.results.store import RECORD, read_record
from frostline.units import join_names

SHOWN = 5
MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
NODES = {one.name: dict for one in fields(Run) if one.default_factory is not MISSING}
MADE = dict.fromkeys((*COMPONENTS, "augment", "adapter"), {"_target_": str})
NEEDED = {
    "config": {
        **NODES,
        **MADE,
        "seed": int,
        "epochs": int,
        "outputs": str,
        "monitor": str,
        "data": {"_target_": str, "batch_size": int, "text_column?": (str, None)},
    },
    "task": dict,
    "data": {"classes": [str]},
    "backbone": {"fingerprint": str},
}
"""What a network is made again from: the config's nodes, and what the run has learnt of its data and its weights."""


def find_run(name: str, outputs: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the record of a run that is done.

    ``name`` is a folder, a record.json, or the beginning of an ID below ``outputs``. Raises UserError where it is no
    run, several, or one that is not done.
    """
    folder = _folder(name, outputs)
    record = read_record(folder)
    if record is None:
        raise UserError(f"{folder} holds no {RECORD}: the run has not ended, or this is no run's folder.")
    if record["status"] != "done":
        raise UserError(f"{folder}: this run is {record['status']}, not done; choose another, or run it again.")
    missing = [key for key in ("task", "adapter", "objective") if key not in record["config"]]
    if missing:
        raise UserError(f"{folder}: this run was made by an earlier Frostline (no {missing[0]}); run it again.")
    check(folder / RECORD, record)
    return folder, record


def check(path: Path, record: dict[str, Any]) -> None:
    """Raise UserError, which names file and field, for a record that a network cannot be made again from."""
    try:
        check_shape(record, NEEDED, "")
        check_config(record["config"], to_run=False)
    except ValueError as error:
        raise UserError(f"{path}: no network can be made of this record ({error}).") from error


@contextmanager
def refuse_misfits(folder: Path) -> Iterator[None]:
    """Raise UserError where a network is made again of a record whose fields, each as it should be, fit no network."""
    try:
        yield
    except UserError:
        raise
    except MISFITS as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{folder / RECORD}: no network can be made of this record ({why}); run it again.") from error


def _folder(name: str, outputs: Path) -> Path:
    path, runs = Path(name).expanduser(), outputs / "runs"
    try:
        if path.name == RECORD and path.is_file():
            return path.parent
        if path.is_dir():
            return path
    except OSError as error:  # a name that is too long, for one
        raise UserError(f"RUN: {name!r} cannot be read ({error.strerror}).") from error
    found = sorted(one for one in runs.iterdir() if one.name.startswith(name)) if runs.is_dir() and name else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"RUN: {name!r} is neither a folder nor a run in {runs}; frostline list {outputs} shows them.")
    names = join_names([one.name for one in found], SHOWN)
    raise UserError(f"RUN: {name!r} is the beginning of several runs: {names}; give more of it.")
