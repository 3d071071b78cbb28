"""One run of a report, reduced from its record to what tables need."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from frostline.config.secrets import mask_value
from frostline.files.shapes import LARGEST
from frostline.results.loading import load_record, read_declaration
from frostline.results.store import RECORD
from frostline.tasks.declarations import UNKNOWN, Declaration

DAMAGED = "damaged"
COSTS = (
    "seconds",
    "cache_seconds",
    "seconds_saved",
    "peak_host_bytes",
    "peak_device_bytes",
    "forward_flops",
    "backward_flops",
    "flops_saved",
    "checkpoint_bytes",
)

Block = tuple[tuple[str, str], ...]
"""(axis, level) of every axis but the compared one."""

RunKey = tuple[str, int]
"""(name of a block, seed); the name is "" where there is one block only."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run: what it was, how it ended and, where it is done, its numbers.

    ``declaration`` is its task's, ``monitor`` the metric that it was selected on. ``config`` (without the seed),
    ``data``, ``backbone``, ``plan`` and ``made`` (versions, machine, git) are canonical JSON, one string in memory for
    all runs that share it; ``parse_shared`` reads them.
    """

    label: str
    block: Block
    seed: int
    folder: Path
    trial: bool = False
    status: str = "missing"
    reason: str = "the run left no record"
    lr: float | None = None
    epochs: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    moved: Mapping[str, float] = field(default_factory=dict)
    similarity: Mapping[str, float] = field(default_factory=dict)
    config: str = "{}"
    data: str = "{}"
    backbone: str = "{}"
    plan: str = "{}"
    made: str = "{}"
    declaration: Declaration = UNKNOWN
    monitor: str | None = None

    @property
    def done(self) -> bool:
        return self.status == "done"


@lru_cache(maxsize=256)
def parse_shared(text: str) -> Any:
    """Return what a run's canonical JSON says; it is shared, so not to be changed."""
    return json.loads(text)


class RunReader:
    """Makes runs of records, and keeps once what many of them share."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def run(
        self, folder: Path, label: str = "", block: Block = (), seed: int | None = None, trial: bool | None = None
    ) -> RunSummary:
        """Return the run in ``folder``; one without a record, or with a damaged one, is a run without a result.

        Where ``seed`` and ``trial`` are None, the run's own config says them.
        """
        try:
            record = mask_value(load_record(folder / RECORD))
        except (FileNotFoundError, NotADirectoryError):
            return RunSummary(label, block, seed or 0, folder, bool(trial))
        except (OSError, ValueError) as error:
            return RunSummary(label, block, seed or 0, folder, bool(trial), DAMAGED, f"its record is damaged: {error}")
        config = record["config"]
        if seed is None:
            seed = int(read_number(config.get("seed")) or 0)
        if trial is None:
            trial = config.get("test") is False
        return RunSummary(label, block, seed, folder, trial, *read_outcome(record, trial), **self._content(record))

    def _content(self, record: Mapping[str, Any]) -> dict[str, Any]:
        config = record["config"]
        return {
            "lr": read_number(look_up(config, "optimizer", "lr")),
            "epochs": record["epochs"] if isinstance(record.get("epochs"), int) else None,
            "scores": read_numbers(look_up(record, "metrics", "test")),
            "validation": read_numbers(look_up(record, "metrics", "val")),
            "costs": read_costs(record),
            "moved": read_numbers(record.get("moved")),
            "similarity": read_numbers(record.get("similarity")),
            "config": self._same({key: value for key, value in config.items() if key != "seed"}),
            "declaration": read_declaration(record),
            "monitor": read_monitor(record),
            **{name: self._same(as_object(record.get(name))) for name in ("data", "backbone", "plan")},
            "made": self._same({name: as_object(record.get(name)) for name in ("versions", "machine", "git")}),
        }

    def _same(self, value: Mapping[str, Any]) -> str:
        text = json.dumps(value, sort_keys=True)
        return self._known.setdefault(text, text)


def read_outcome(record: Mapping[str, Any], trial: bool) -> tuple[str, str]:
    """Return status and reason; a record without its numbers counts as failed, never as one with a score of 0."""
    status = record.get("status")
    if status != "done":
        return str(status), str(record.get("reason") or "no reason was recorded")
    metric = read_monitor(record)
    if metric is None:
        return "failed", "neither the record's config.monitor nor its task names the metric that it was selected on"
    score = ("metrics", "val" if trial else "test", metric)
    for path in (score, ("cost", "seconds")):
        if read_number(look_up(record, *path)) is None:
            return "failed", f"the record's {'.'.join(path)} is {look_up(record, *path)!r}, not a number"
    return "done", ""


def read_monitor(record: Mapping[str, Any]) -> str | None:
    """Return the metric that a run was selected on: its config's, or its task's first; None where neither names one."""
    declared = next(iter(read_declaration(record).names), None)
    return str(record["config"].get("monitor") or declared or "") or None


def read_costs(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the costs a record knows of; ``trainable`` counts the phase with most, ``trainable_last`` the last one.

    ``flops`` is forward and backward together.
    """
    trainable = look_up(record, "parameters", "trainable")
    found = read_numbers(
        {name: look_up(record, "cost", name) for name in COSTS} | {"total": look_up(record, "parameters", "total")}
    )
    counts = [count for count in trainable if read_number(count) is not None] if isinstance(trainable, list) else []
    if counts:
        found |= {"trainable": float(max(counts)), "trainable_last": float(counts[-1])}
    if {"forward_flops", "backward_flops"} <= found.keys():
        found["flops"] = found["forward_flops"] + found["backward_flops"]
    if not found.get("peak_device_bytes"):  # it has none
        found.pop("peak_device_bytes", None)
    return found


def name_machine(run: RunSummary) -> str:
    """Return what a run's times and memory depend on, in words; empty where its record does not say it."""
    found = as_object(look_up(parse_shared(run.made), "machine"))
    said = [_machine(one) for one in (found, *(found.get("earlier") or ()))]
    return ", before that on ".join(filter(None, said))


def _machine(found: Mapping[str, Any]) -> str:
    names = " and ".join(sorted(set(found.get("names") or ())))
    return f"{names} with {found.get('cpus')} cores" if names else ""


def read_block(levels: Mapping[str, Any]) -> Block:
    """Return a block as it is kept: hashable, with its levels as text."""
    return tuple((str(axis), str(level)) for axis, level in levels.items())


def resolve_place(folder: Path, path: str) -> Path:
    """Return where a path leads that a file in ``folder`` names; one that is no path leads nowhere."""
    try:
        return (folder / path).resolve()
    except (ValueError, OSError, RuntimeError):  # a NUL byte in it, links in a circle
        return folder / "nowhere"


def look_up(value: Any, *path: str) -> Any:
    """Return what lies at a path of nested objects, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def as_object(value: Any) -> dict[str, Any]:
    """Return an object of JSON, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def read_numbers(values: Any) -> dict[str, float]:
    """Return the finite numbers among an object's values."""
    return {name: value for name, raw in as_object(values).items() if (value := read_number(raw)) is not None}


def read_number(value: Any) -> float | None:
    """Return a finite number of JSON as a float; anything else, True and NaN too, is None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        return None
    return float(value)
