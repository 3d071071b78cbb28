"""What a report is about: a comparison, or any set of runs seen as one, read from the runs' records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from frostline.config.secrets import mask_value
from frostline.errors import UserError
from frostline.report.read.axes import FACTOR, place_runs
from frostline.report.read.profiles import CellProfile, read_cell_profiles
from frostline.report.read.runs import (
    DAMAGED,
    Block,
    RunReader,
    RunSummary,
    as_object,
    read_block,
    read_number,
    resolve_place,
)
from frostline.report.read.study import STUDY, read_study
from frostline.results.indexes import load_comparison
from frostline.results.store import RECORD
from frostline.tasks.declarations import UNKNOWN, Declaration, Metric
from frostline.units import format_count, join_lines

COMPARISON = "comparison.json"
FORMAT = 2


@dataclass(frozen=True)
class TunedRate:
    """What learning-rate tuning chose for one strategy and block; ``edge`` is the end of the grid it lies at, if any.

    ``why`` says why it was not tuned; ``lr`` is then the one it had anyway.
    """

    label: str
    block: Block
    lr: float | None
    edge: str | None
    extended: bool
    why: str | None


@dataclass(frozen=True)
class Comparison:
    """What was varied, and every run.

    ``runs`` are those that count, ``trials`` those of the learning-rate tuning; ``axes`` has the levels of each
    axis, ``factor`` among them; ``notes`` are sentences on what was found while reading.
    """

    name: str
    factor: str
    axes: Mapping[str, Sequence[str]]
    runs: Sequence[RunSummary]
    trials: Sequence[RunSummary] = ()
    tuned: Sequence[TunedRate] = ()
    command: str | None = None
    budget: Mapping[str, Any] = field(default_factory=dict)
    lr_grid: Sequence[float] = ()
    lr_seed: int | None = None
    wall_seconds: float | None = None
    extraction: Mapping[str, Any] | None = None
    profiles: Sequence[CellProfile] = ()
    notes: Sequence[str] = ()

    @property
    def labels(self) -> list[str]:
        """The levels of the compared axis, in the order they were given."""
        return list(dict.fromkeys([*self.axes.get(self.factor, ()), *(run.label for run in self.runs)]))

    @property
    def blocks(self) -> list[Block]:
        """The blocks, in the order of the runs."""
        return list(dict.fromkeys(run.block for run in self.runs))

    @property
    def first(self) -> RunSummary | None:
        """The first run that left a config: what all runs have in common is read from it."""
        return next((run for run in self.runs if run.config != "{}"), None)

    @property
    def declaration(self) -> Declaration:
        """What the task of the runs declares."""
        return UNKNOWN if self.first is None else self.first.declaration

    @property
    def metric(self) -> Metric:
        """The metric that the runs were selected by; where none has left it, one of which nothing is known."""
        name = None if self.first is None else self.first.monitor
        return UNKNOWN.metrics[0] if name is None else self.declaration.metric(name)

    @property
    def knows_metric(self) -> bool:
        """Whether any run has left by which metric it was selected."""
        return self.first is not None and self.first.monitor is not None


def read_comparison(paths: Sequence[Path]) -> Comparison:
    """Return the comparison in a folder, or one of any run folders, record.json files and comparisons together.

    A folder that holds run folders, such as outputs/runs, stands for all of them.
    Raises UserError for a path that is none of these, or a comparison that cannot be read.
    """
    if len(paths) == 1 and (paths[0] / COMPARISON).is_file():
        return _read_folder(paths[0])
    reader = RunReader()
    found = {folder: known for path in paths for folder, known in run_folders(path).items()}
    read_runs = [reader.run(folder, **known) for folder, known in found.items()]
    lost = [run for run in read_runs if run.status == DAMAGED]
    if len(lost) == len(read_runs):
        raise UserError(f"{lost[0].folder}: {lost[0].reason}; remove it and run it again.")
    runs, axes, notes = place_runs([run for run in read_runs if run.status != DAMAGED])
    if lost:
        notes.append(f"Left out: {join_lines([f'{run.folder.name} ({run.reason})' for run in lost])}.")
    trials = [run for run in runs if run.trial]
    if trials:
        notes.append(f"Trials, which leave the test split alone, are in no mean: {format_count(len(trials), 'run')}.")
    return Comparison("A set of runs", FACTOR, axes, [run for run in runs if not run.trial], notes=notes)


def run_folders(path: Path) -> dict[Path, dict[str, Any]]:
    """Return the folders of the runs that a path stands for, with what is known of each beside its record.

    Raises UserError where it stands for none.
    """
    if path.name == RECORD and path.is_file():
        return {path.parent.resolve(): {}}
    if (path / RECORD).is_file():
        return {path.resolve(): {}}
    if (path / COMPARISON).is_file():
        found = _read_folder(path)
        return {run.folder: {"label": run.label, "seed": run.seed} for run in (*found.runs, *found.trials)}
    if (path / STUDY).is_file():
        return {one.folder: {} for one in read_study(path).trials if one.folder is not None}
    inside = sorted(path.glob(f"*/{RECORD}"))
    if not inside:
        raise UserError(f"{path}: this is no comparison's folder (with {COMPARISON}) and no run's (with {RECORD}).")
    return {file.parent.resolve(): {} for file in inside}


def read_content(folder: Path) -> dict[str, Any]:
    """Return what a comparison's comparison.json says. Raises UserError where it cannot be read."""
    path = folder / COMPARISON
    try:
        return mask_value(load_comparison(path, FORMAT))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: this is no comparison ({error}); frostline compare writes it anew.") from error


def _read_folder(folder: Path) -> Comparison:
    """Return the comparison in ``folder``. Raises UserError where it cannot be read."""
    content, reader = read_content(folder), RunReader()
    runs = [_on_device(reader, folder, entry) for entry in content["runs"]]
    tuned = [_read_tuned(entry) for entry in content["tuned"]]
    return Comparison(
        name=str(content.get("name") or folder.resolve().name),
        factor=content["factor"],
        axes={axis: [str(level) for level in levels] for axis, levels in content["axes"].items()},
        runs=[run for run in runs if not run.trial],
        trials=[run for run in runs if run.trial],
        tuned=tuned,
        command=content.get("command"),
        budget=as_object(content.get("budget")),
        lr_grid=content.get("lr_grid") or (),
        lr_seed=content.get("lr_seed"),
        wall_seconds=read_number(content.get("wall_seconds")),
        extraction=content.get("extraction"),
        profiles=read_cell_profiles(folder, content.get("profiles") or ()),
    )


def _on_device(reader: RunReader, folder: Path, entry: Mapping[str, Any]) -> RunSummary:
    """Return the run of an entry of comparison.json, which knows what runs without a record do not say."""
    path = resolve_place(folder, entry["path"])
    run = reader.run(path, entry["label"], read_block(entry["block"]), entry["seed"], entry["trial"])
    return replace(run, lr=read_number(entry["lr"])) if run.lr is None else run


def _read_tuned(entry: Mapping[str, Any]) -> TunedRate:
    lr, edge, why = read_number(entry["lr"]), entry["edge"], entry["why"]
    return TunedRate(entry["label"], read_block(entry["block"]), lr, edge, entry["extended"], why)
