"""Records as they are loaded: checked once, for a stranger's are of any shape, and a disk may have damaged ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frostline.files.atomic import read_json
from frostline.files.shapes import check_shape
from frostline.tasks.declarations import DECLARATIONS, SHAPE, Declaration, find_declaration

MACHINE = {
    "device?": str,
    "names?": [str],
    "hosts?": int,
    "cpus?": int,
    "threads?": int,
    "cuda?": (str, None),
    "cudnn?": (int, None),
    "matmul_precision?": str,
    "deterministic?": (bool, str),
    "benchmark?": bool,
}
STATUSES = ("done", "diverged", "failed", "interrupted", "pruned", "paused")
SCORES = {str: (float, None)}
RECORD = {
    "status": str,
    "config": dict,
    "id?": str,
    "reason?": (str, None),
    "traceback?": (str, None),
    "user_error?": bool,
    "versions?": {str: str},
    "machine?": {**MACHINE, "earlier?": [MACHINE]},
    "git?": ({"commit?": (str, None), "dirty?": (bool, None)}, None),
    "task?": {"declaration?": SHAPE},
    "data?": dict,
    "backbone?": dict,
    "plan?": dict,
    "cached?": [str],
    "parameters?": dict,
    "metrics?": {str: dict},
    "confusion?": list,
    "moved?": dict,
    "similarity?": dict,
    "mistakes?": [dict],
    "epochs?": int,
    "best_epoch?": (int, None),
    "cost?": dict,
    "notes?": [str],
}
"""The fields of a record; an earlier Frostline's may lack some, which are then as in a run that did not come so far."""
DONE = {"metrics": {"val": SCORES, "test?": SCORES}, "cost": {"seconds": float, "cache_seconds": float}, "epochs": int}
"""What is counted on in the record of a run that is done."""


def load_record(path: Path) -> dict[str, Any]:
    """Return a record.

    Raises OSError if the file cannot be read, and ValueError, naming the field, if its content is no record.
    """
    record = read_json(path)
    check_shape(record, RECORD, "")
    if record["status"] not in STATUSES:
        raise ValueError(f"status is {record['status'][:40]!r}, not one of {', '.join(STATUSES)}")
    return record


def load_whole_record(path: Path) -> dict[str, Any]:
    """Return a record as ``load_record``; of a run that is done it has the numbers that others go by."""
    record = {"reason": None, **load_record(path)}
    if record["status"] == "done":
        check_shape(record, DONE, "")
    return record


def read_declaration(record: Mapping[str, Any]) -> Declaration:
    """Return what the task of a loaded record declares, without running code that the record names.

    Frostline's own tasks are known by their names. One of the user's own has written it into the record; of one that
    has not, no score is known. A record without a task is of a time when there was one kind only.
    """
    node = record["config"].get("task")
    if not isinstance(node, Mapping) or "_target_" not in node:
        return DECLARATIONS["multiclass"]
    target = str(node["_target_"])
    written = record.get("task", {}).get("declaration")
    found = find_declaration(target) or (Declaration.read(written) if written else None)
    return found or Declaration(target.rpartition(".")[2].lower(), (), "loss")
