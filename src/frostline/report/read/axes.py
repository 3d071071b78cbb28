"""Runs that no comparison places: which strategy and which block each is, from how their configs differ."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from frostline.files.atomic import encode_names
from frostline.report.read.runs import Block, RunSummary, parse_shared
from frostline.results.store import WHERE_NOT_WHAT

FACTOR = "freeze"
PLACED = ("data", "backbone")  # where these differ runs are never compared, even if each strategy had its own
LAST = (
    "optimizer.lr",
    "epochs",
)  # what a strategy may have of its own: an axis only where nothing else tells runs apart
LONGEST = 60
ABSENT = "-"

AxisColumns = Mapping[str, str]


def place_runs(runs: Sequence[RunSummary]) -> tuple[list[RunSummary], dict[str, list[str]], list[str]]:
    """Return the runs with label and block, the axes with their levels, and sentences on what was found.

    The label is the freeze strategy with its options; a block is what else differs, apart from the seed, from where
    and how fast a run went, and from what follows from strategy and block (a tuned learning rate does).
    """
    configs = dict.fromkeys(run.config for run in runs if run.config != "{}")
    columns = {config: dict(_columns(parse_shared(config))) for config in configs}
    counted = {run.config for run in runs if not run.trial} & columns.keys()
    axes = _axes([columns[config] for config in configs if config in counted])
    found = [_on_device(run, columns.get(run.config), axes) for run in runs]
    kept = _once(found)
    levels = {axis: list(dict.fromkeys(columns[config].get(axis, ABSENT) for config in columns)) for axis in axes}
    labels = list(dict.fromkeys(run.label for run in kept if not run.trial))
    notes = [f"{len(found) - len(kept)} runs are copies of others and left out."] if len(found) > len(kept) else []
    return kept, {FACTOR: labels, **levels}, notes


def _on_device(run: RunSummary, columns: AxisColumns | None, axes: Sequence[str]) -> RunSummary:
    if columns is None:
        return replace(run, label=run.label or run.folder.name)
    return replace(run, label=columns[FACTOR], block=tuple((axis, columns.get(axis, ABSENT)) for axis in axes))


def _once(runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Leave out the copies of a run; one that is done is kept rather than one that is not."""
    kept: dict[Any, RunSummary] = {}
    for run in runs:
        key = (run.label, run.block, run.seed, run.trial, run.lr if run.trial else None)
        if key not in kept or (run.done and not kept[key].done):
            kept[key] = run
    return list(kept.values())


def _axes(columns: Sequence[AxisColumns]) -> list[str]:
    chosen: list[str] = []
    names = dict.fromkeys(name for one in columns for name in one if name != FACTOR)
    for name in sorted(names, key=lambda name: (name in LAST, "." in name)):
        known = chosen if name.split(".")[0] in PLACED else [FACTOR, *chosen]
        if len({one.get(name) for one in columns}) > 1 and not _follows(name, known, columns):
            chosen.append(name)
    return chosen


def _follows(name: str, known: Sequence[str], columns: Sequence[AxisColumns]) -> bool:
    """Return whether the values of ``known`` say the value of ``name``."""
    seen: dict[tuple[str | None, ...], str | None] = {}
    keys = [(tuple(one.get(other) for other in known), one.get(name)) for one in columns]
    return all(seen.setdefault(key, value) == value for key, value in keys)


def _columns(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what tells a config from others: the strategy, what each component is, and every option."""
    yield FACTOR, name_strategy(config.get(FACTOR))
    for node, value in config.items():
        if node == FACTOR or node in WHERE_NOT_WHAT or node in ("test", "monitor"):
            continue
        if isinstance(value, Mapping) and "_target_" in value:
            yield node, name_component(value)
        for path, leaf in iterate_leaves(value, node):
            if ".".join(path) not in WHERE_NOT_WHAT and path[-1] != "_target_":
                yield ".".join(path), name_level(leaf)


def iterate_leaves(value: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the leaves of a config, each with its path; an empty node is a leaf."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from iterate_leaves(inner, *path, name)
    else:
        yield path, value


def name_strategy(node: Any) -> str:
    """Return the name of a freeze strategy with its options, such as last_k(k=2)."""
    if not isinstance(node, Mapping):
        return name_level(node)
    options = ", ".join(f"{key}={name_level(value)}" for key, value in node.items() if key != "_target_")
    return name_component(node) + (f"({options})" if options else "")


def name_component(node: Mapping[str, Any]) -> str:
    """Return what a component is called: its name, or the last part of what it is made by."""
    made = str(node.get("_target_", "")).rpartition(".")[2].lower()
    return name_level(node["name"]) if node.get("name") else made


def name_level(value: Any) -> str:
    """Return a value of a config as a level's name; a long one is cut, and marked so that it stays its own."""
    found = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if len(found) <= LONGEST:
        return found
    return f"{found[:LONGEST]}... #{hashlib.sha256(encode_names(found)).hexdigest()[:4]}"


def name_comparison_block(block: Block) -> str:
    """Return a block's name: the level where there is one axis, else each level with its axis."""
    return block[0][1] if len(block) == 1 else ", ".join(f"{axis}={level}" for axis, level in block)
