"""How it was done: enough to judge it and to do it again."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from frostline.report.page.parts import CodeBlock, Fold, Part, Section, Table, TableCell, Text
from frostline.report.read.axes import iterate_leaves, name_component
from frostline.report.read.runs import Block, RunSummary, as_object, look_up, name_machine, parse_shared
from frostline.report.statistics.analysis import Analysis
from frostline.units import NONE, format_count, format_duration, format_rate, join_names

MOST_CONFIGS = 60
MOST_FAILURES = 200
MOST_CLASSES = 20
SPLITS = ("train", "val", "test")
PRINT = 12  # hexadecimal digits of a fingerprint that are shown
OF_ONE_RUN = ("group", "label")  # only where loggers file a run


def make_failures(analysis: Analysis) -> Section | None:
    """Return the runs without a result, each with its reason."""
    found = analysis.failures
    if not found:
        return None
    columns = [("strategy", False), ("block", False), ("seed", True), ("status", False), ("reason", False)]
    rows = [
        [
            TableCell(run.label),
            TableCell(", ".join(level for _, level in run.block) or NONE),
            TableCell(str(run.seed), run.seed),
            TableCell(run.status),
            TableCell(run.reason),
        ]
        for run in found[:MOST_FAILURES]
    ]
    more = f" The first {MOST_FAILURES} are shown; results.csv has all." if len(found) > MOST_FAILURES else ""
    parts = [Table("failures", "Runs without a result", columns, rows), Text(f"They are in no mean.{more}")]
    return Section("failures", "No result", parts)


def make_method(analysis: Analysis) -> Section:
    """Return the command, the facts, and the exact configs."""
    comparison = analysis.comparison
    parts: list[Part] = []
    if comparison.command:
        parts += [Text("The command that makes this comparison:"), CodeBlock(comparison.command)]
    rows = [[TableCell(name), TableCell(said)] for name, said in [*_design(analysis), *_facts(analysis)] if said]
    parts += [Table("facts", "What was run, and with what", [("what", False), ("value", False)], rows)]
    parts += [Text(note) for note in comparison.notes]
    return Section("method", "How it was done", [*parts, *_configs(analysis)])


def _design(analysis: Analysis) -> Iterator[tuple[str, str]]:
    comparison = analysis.comparison
    yield (
        "runs",
        f"{len(comparison.runs):,}, {len(analysis.failures):,} without a result"
        + (f"; {format_count(len(comparison.trials), 'trial')} of learning rates" if comparison.trials else ""),
    )
    yield f"compared ({comparison.factor})", join_names(comparison.labels, 60)
    for axis, levels in comparison.axes.items():
        if axis != comparison.factor:
            yield f"block axis {axis}", join_names(list(levels), 60)
    yield "seeds", join_names([str(seed) for seed in sorted({run.seed for run in comparison.runs})], 60)
    if comparison.knows_metric:
        yield "selected by", f"validation {analysis.name}: the best epoch was tested, once"
    yield "budget", _budget(comparison.budget)
    yield "learning rates tried", join_names([format_rate(float(one)) for one in comparison.lr_grid], 60)


def _budget(budget: Mapping[str, Any]) -> str:
    if budget.get("seconds") is not None:
        return f"about {format_duration(float(budget['seconds']))} of training for each run"
    return f"{format_count(int(budget['epochs']), 'epoch')} for each run" if budget.get("epochs") is not None else ""


def _facts(analysis: Analysis) -> Iterator[tuple[str, str]]:
    readers: Sequence[tuple[str, Callable[[RunSummary], str]]] = (
        ("data", _data),
        ("data content", lambda run: str(look_up(parse_shared(run.data), "content") or "")[:PRINT]),
        ("data fingerprint", lambda run: str(look_up(parse_shared(run.data), "fingerprint") or "")[:PRINT]),
        ("task", lambda run: run.declaration.name),
        ("classes", _classes),
        ("backbone", _backbone),
        ("machine", name_machine),
        ("epochs", lambda run: str(run.epochs) if run.epochs is not None else ""),
        ("versions", lambda run: _pairs(as_object(look_up(parse_shared(run.made), "versions")))),
        ("git", _git),
    )
    for name, read in readers:
        yield name, _attribute_values(analysis, read)


def _attribute_values(analysis: Analysis, read: Callable[[RunSummary], str]) -> str:
    """Return what finished runs say, each value once; where they differ, with the strategies, blocks or seeds."""
    found: dict[str, list[RunSummary]] = {}
    for label in analysis.labels:
        for run in analysis.cell(label, None):
            if said := read(run):
                found.setdefault(said, []).append(run)
    if len(found) <= 1:
        return "".join(found)
    for who in (
        _name_label,
        lambda run: analysis.keys[run.block],
        lambda run: f"seed {run.seed}",
        _name_place,
        _name_run,
    ):
        names = [dict.fromkeys(who(run) for run in runs) for runs in found.values()]
        if sum(map(len, names)) == len({name for each in names for name in each}):
            break
    return "; ".join(
        f"{said} ({join_names(list(each), 8)})" for said, each in list(zip(found, names, strict=True))[:24]
    )


def _name_label(run: RunSummary) -> str:
    return run.label


def _name_place(run: RunSummary) -> str:
    return ", ".join([*(level for _, level in run.block), f"seed {run.seed}"])


def _name_run(run: RunSummary) -> str:
    return ", ".join([run.label, *(level for _, level in run.block), f"seed {run.seed}"])


def _data(run: RunSummary) -> str:
    config, counts = (
        as_object(parse_shared(run.config).get("data")),
        as_object(look_up(parse_shared(run.data), "counts")),
    )
    where = [str(config[key]) for key in ("root", "manifest") if config.get(key)]
    splits = [split for split in SPLITS if split in counts] + [split for split in counts if split not in SPLITS]
    return ", ".join([name_component(config), *where, *(f"{split} {counts[split]}" for split in splits)])


def _git(run: RunSummary) -> str:
    git = as_object(look_up(parse_shared(run.made), "git"))
    return (
        f"commit {git.get('commit')}{', with changes that are not committed' if git.get('dirty') else ''}"
        if git
        else ""
    )


def _classes(run: RunSummary) -> str:
    names = look_up(parse_shared(run.data), "classes")
    return (
        f"{len(names)}: {join_names([str(name) for name in names], MOST_CLASSES)}"
        if isinstance(names, list) and names
        else ""
    )


def _backbone(run: RunSummary) -> str:
    backbone = parse_shared(run.backbone)
    if not backbone:
        return ""
    given = look_up(parse_shared(run.config), "backbone", "weights")
    random = look_up(parse_shared(run.plan), "pretrained") is False or given == "none"
    weights = "random weights" if random else f"weights {str(backbone.get('fingerprint'))[:PRINT]}"
    return f"{backbone.get('name')}, {weights}"


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _configs(analysis: Analysis) -> Iterator[Part]:
    """Yield what the configs of all runs share, then what each strategy and block has of its own: together, exact."""
    firsts: dict[tuple[str, Block], RunSummary] = {}
    for run in analysis.comparison.runs:
        if run.config != "{}":
            firsts.setdefault((run.label, run.block), run)
    tables = {cell: _flat(parse_shared(run.config)) for cell, run in firsts.items()}
    if not tables:
        return
    first, *others = tables.values()
    shared = {key: text for key, text in first.items() if all(table.get(key) == text for table in others)}
    yield Text(
        "The exact config of a run is what all share and what its strategy and block have of their own, with its seed; "
        "each run's folder holds it as resolved.yaml."
    )
    folds = [Fold("What all runs share", [CodeBlock(_yaml(shared))])]
    for (label, block), table in list(tables.items())[:MOST_CONFIGS]:
        own = {key: text for key, text in table.items() if key not in shared}
        where = analysis.places[block]
        folds.append(Fold(f"{label}{where}: what differs", [CodeBlock(_yaml(own))]))
    more = len(tables) - MOST_CONFIGS
    yield Fold("Exact configs", [*folds, *([Text(f"{more} more are in their runs' folders.")] if more > 0 else [])])


def _flat(config: Mapping[str, Any]) -> dict[tuple[str, ...], str]:
    return {path: json.dumps(leaf) for path, leaf in iterate_leaves(config) if path[0] not in OF_ONE_RUN}


def _yaml(flat: Mapping[tuple[str, ...], str]) -> str:
    tree: dict[str, Any] = {}
    for (*path, last), text in flat.items():
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = json.loads(text)
    return yaml.safe_dump(tree, sort_keys=False).strip() if tree else "nothing"
