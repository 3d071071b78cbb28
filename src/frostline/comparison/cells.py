"""The cells of a comparison: every combination of the levels of its axes, composed and checked."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from frostline.config.allow import is_below
from frostline.config.compose import compose, expand_sweep, explain_config_errors, parse_overrides, resolve
from frostline.config.schema import Compare, ComparisonConfig, Run
from frostline.errors import UserError, make_choice_error
from frostline.files.atomic import sha256_json
from frostline.launchers.base import Job
from frostline.results.store import WHERE_NOT_WHAT, choose_folder_name, make_identity

OURS = {"freeze": "compare.strategies=[lp_ft, {last_k: {k: 2}}]", "seed": "compare.seeds=[0, 1, 2]"}
"""What a comparison varies by keys of its own, and how to say it."""
WITH_STRATEGY = ("head", "objective", "optimizer", "schedule", "adapter", "augment")
"""Groups that the options of a strategy may set as well: how it trains, and not on what."""
Block = dict[str, str]
CellKey = tuple[str, str]
"""What tells cells apart: the label, and the block as text."""
CellFacts = Mapping[CellKey, Mapping[str, Any]]
"""What is known of each cell before it runs, by its key."""


@dataclass(frozen=True)
class Level:
    """One level of an axis: its name, the overrides that make it, and the values that a strategy sets, by key."""

    name: str
    overrides: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CellJob(Job):
    """One run of a cell; a trial serves to choose and leaves the test split alone."""

    cell: "Cell"
    seed: int
    lr: float
    epochs: int
    trial: bool


@dataclass(frozen=True)
class Cell:
    """One level of the compared factor in one block; ``composed`` is its config before a seed is put in.

    ``group`` is what its runs belong to: the comparison's name, once that is known.
    """

    label: str
    block: Block
    composed: DictConfig
    lr: float
    epochs: int
    group: str | None = None

    @property
    def name(self) -> str:
        """What a person calls the cell."""
        return " ".join([self.label, *(f"{key}={value}" for key, value in self.block.items())])

    @property
    def key(self) -> CellKey:
        """What tells the cell from others."""
        return self.label, describe_block(self.block)

    def job(self, seed: int, lr: float | None = None, epochs: int | None = None, trial: bool = False) -> CellJob:
        """Return the run with this seed; None stands for what the config says. Raises UserError for bad values."""
        rate, length = lr or self.lr, epochs or self.epochs
        values = {"seed": seed, "optimizer.lr": rate, "epochs": length, "test": not trial, "group": self.group}
        for key, value in {**values, "label": self._run_name(seed, rate, trial)}.items():
            OmegaConf.update(self.composed, key, value)
        config = resolve(self.composed)
        return CellJob(config.label or "", config, self, seed, rate, length, trial)

    def _run_name(self, seed: int, lr: float, trial: bool) -> str:
        return f"{self.name} seed {seed}" + (f" lr {lr:g}" if trial else "")


@dataclass(frozen=True)
class CellFinding:
    """What a comparison has found out of a cell, kept in comparison.json beside the cell's label and block."""

    label: str
    block: Block

    @property
    def key(self) -> CellKey:
        """The key of its cell."""
        return self.label, describe_block(self.block)

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers for JSON."""
        return asdict(self)


def describe_block(block: Mapping[str, str]) -> str:
    """Return a block as one text, such as ``data=digits, data.num_per_class=5``; "" where there is one block only."""
    return ", ".join(f"{key}={value}" for key, value in block.items())


@dataclass(frozen=True)
class Design:
    """A comparison before anything is run: ``config`` is that of its first cell, with the node `compare`."""

    name: str
    factor: str
    axes: dict[str, list[str]]
    cells: list[Cell]
    config: Compare

    @property
    def seeds(self) -> list[int]:
        return self.config.compare.seeds

    @property
    def trial_seed(self) -> int:
        """The seed of trials. Raises UserError for one that a run uses as well: it would choose on its own noise."""
        seed = self.config.compare.lr_seed
        if seed is None:
            return max(self.seeds) + 1
        if seed in self.seeds:
            raise UserError(f"compare.lr_seed: {seed} is among compare.seeds; choose one that no run uses, or null.")
        return seed

    def digest(self) -> str:
        """Return a hash of all that decides which runs there are."""
        node = {key: value for key, value in self.config.plain()["compare"].items() if key not in ("name", "profile")}
        return sha256_json([node, [make_identity(config) for config in self.configs()]])

    def configs(self) -> list[Run]:
        """Return the config of each cell's first run."""
        return [cell.job(self.seeds[0]).config for cell in self.cells]


def make_design(overrides: Sequence[str], config_dir: Path | None) -> Design:
    """Compose and check every cell. Raises UserError for what is wrong with any of them."""
    base, swept = split_sweeps(overrides, config_dir)
    config = resolve(compose("compare", [*base, *list_first_levels(swept)], config_dir), Compare)
    check_varied(config.compare)
    if not config.test:
        raise UserError("test: a comparison tests each run once; leave it out, or try settings by frostline run.")
    more, added = split_sweeps(config.compare.axes, config_dir)
    if more or set(added) & set(swept):
        raise UserError(f"compare.axes: {(more or sorted(added))[0]!r} is no sweep, or is swept twice; give data=a,b.")
    levels = {key: [Level(one.partition("=")[2], (one,), {}) for one in ones] for key, ones in (added | swept).items()}
    axes = {"freeze": read_strategies(config.compare.strategies), **levels}
    factor = config.compare.factor
    if factor not in axes:
        raise make_choice_error("compare.factor", factor, list(axes))
    cells = [make_cell(axes, levels, base, factor, config_dir) for levels in itertools.product(*axes.values())]
    names = {axis: [level.name for level in levels] for axis, levels in axes.items()}
    found = Design("", factor, names, cells, config)
    check_distinct(found)
    name = name_folder(found, cells[0].composed)
    return replace(found, name=name, cells=[replace(cell, group=name) for cell in cells])


def list_first_levels(swept: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the first single override of each sweep."""
    return [ones[0] for ones in swept.values()]


def check_varied(node: ComparisonConfig) -> None:
    """Refuse lists that are empty or hold what is no seed or rate, and a budget of both kinds. Raises UserError."""
    for key in ("strategies", "seeds"):
        if not getattr(node, key):
            raise UserError(f"compare.{key}: the list is empty; give one as in {OURS['freeze']} {OURS['seed']}.")
    if len(set(node.lr_grid)) != len(node.lr_grid):
        raise UserError(f"compare.lr_grid: {node.lr_grid} holds a rate twice; give each once.")
    budget = node.budget
    if budget.epochs is not None and budget.seconds is not None:
        raise UserError("compare.budget: it holds epochs and seconds; give one of them and null for the other.")


def split_sweeps(overrides: Sequence[str], config_dir: Path | None) -> tuple[list[str], dict[str, list[str]]]:
    """Return the plain overrides, and for each swept key the single overrides it stands for.

    Raises UserError for a key that is swept twice, that the comparison varies by a list of its own, or that is no
    part of what a run computes.
    """
    base: list[str] = []
    swept: dict[str, list[str]] = {}
    for text, one in zip(overrides, parse_overrides(overrides), strict=True):
        key = str(one.key_or_group)
        node = key.partition(".")[0]
        if node in OURS:
            raise UserError(f"{node}: a comparison varies this itself; give it as {OURS[node]}.")
        if not one.is_sweep_override():
            base.append(text)
            continue
        if key in swept:
            raise UserError(f"{key}: it is swept twice; give all its levels in one sweep.")
        if node in ("compare", "monitor", "test") or any(is_below(key, no) for no in WHERE_NOT_WHAT):
            raise UserError(f"{key}: it cannot be swept here; it is no part of what a run computes.")
        if key == "task":
            raise UserError("task: it cannot be swept here; scores of different tasks cannot be compared.")
        swept[key] = expand_sweep(one, config_dir)
    return base, swept


def read_strategies(entries: Sequence[Any]) -> list[Level]:
    """Return a level for each strategy. Raises UserError for an entry that is neither a name nor one with options.

    Options are the strategy's own, such as ``k``, or set one of the groups ``WITH_STRATEGY``: ``head``, ``head.taps``.
    """
    found = []
    for entry in entries:
        pairs = list(entry.items()) if isinstance(entry, Mapping) else [(entry, None)]
        if len(pairs) != 1 or not isinstance(pairs[0][0], str) or not isinstance(pairs[0][1] or {}, Mapping):
            raise UserError(
                f"compare.strategies: {entry!r} is neither a name nor one with options: {{last_k: {{k: 2}}}}."
            )
        name, options = pairs[0][0], dict(pairs[0][1] or {})
        if not re.fullmatch(r"\w+", name):
            raise UserError(f"compare.strategies: {name!r} is no strategy's name.")
        text = ", ".join(f"{key}={value}" for key, value in options.items())
        chosen = {key: value for key, value in options.items() if key in WITH_STRATEGY}
        overrides = [f"freeze={name}", *(f"{key}={value}" for key, value in chosen.items())]
        values = {locate_option(key): value for key, value in options.items() if key not in chosen}
        found.append(Level(f"{name}({text})" if options else name, tuple(overrides), values))
    return found


def locate_option(key: str) -> str:
    """Return the key of the config that an option of a strategy sets. Raises UserError for one that none may set."""
    node, dot, _ = key.partition(".")
    if dot and node not in WITH_STRATEGY:
        raise UserError(
            f"compare.strategies: {key} is no option of a strategy; vary it by compare.axes, or set one of "
            f"{', '.join(WITH_STRATEGY)}."
        )
    return key if dot else f"freeze.{key}"


def make_cell(
    axes: Mapping[str, Sequence[Level]], levels: Sequence[Level], base: Sequence[str], factor: str, folder: Path | None
) -> Cell:
    """Compose one cell. Raises UserError for what is wrong with it."""
    here = dict(zip(axes, levels, strict=True))
    own = [text for level in levels for text in level.overrides]
    chosen = {text.partition("=")[0] for text in own}  # what a strategy chooses stands in place of what all would have
    shared = [text for text in base if text.partition("=")[0] not in chosen]
    composed = compose("compare", [*shared, *own], folder)
    for key, value in here["freeze"].options.items():
        with explain_config_errors(None):
            OmegaConf.update(composed, key, value, merge=False)
    budget = composed.compare.budget.epochs
    if budget is not None:
        OmegaConf.update(composed, "epochs", budget)
    block = {key: level.name for key, level in here.items() if key != factor and len(axes[key]) > 1}
    config = resolve(composed)
    if "lr" not in config.optimizer:
        raise UserError("optimizer.lr is missing; give the learning rate, for example optimizer.lr=0.001.")
    return Cell(here[factor].name, block, composed, config.optimizer["lr"], config.epochs)


def check_distinct(found: Design) -> None:
    """Raise UserError when two cells or seeds come to the same run, which would be counted twice."""
    seen: dict[str, CellJob] = {}
    for job in (cell.job(seed) for cell in found.cells for seed in found.seeds):
        other = seen.setdefault(job.id, job)
        if other is not job:
            raise UserError(
                f"compare: {other.name} and {job.name} are the same run; leave one out of compare.strategies, "
                "compare.axes or compare.seeds."
            )


def name_folder(found: Design, composed: DictConfig) -> str:
    """Return compare.name, or a name from the data sets, the backbones and a hash of the runs.

    So the same command again goes on in the same folder. Raises UserError for a name that is no folder's.
    """
    chosen = composed.hydra.runtime.choices
    parts = ["+".join(found.axes.get(group, [chosen[group]])) for group in ("data", "backbone")]
    return choose_folder_name("compare.name", found.config.compare.name, f"{'-'.join(parts)}-{found.digest()[:8]}")
