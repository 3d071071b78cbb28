"""The typed root of a config, and the checks of what stands in it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Annotated, Any, Self, get_type_hints

from frostline.config.allow import check_targets, find_conf_dir, instantiate, list_components, locate
from frostline.config.early import check_early
from frostline.config.signature import check_value, make_key_error
from frostline.config.switches import check_switches
from frostline.errors import UserError, make_choice_error
from frostline.ranges import (
    AtLeastOne,
    Count,
    Gigabytes,
    LearningRate,
    Range,
    Seconds,
    Seed,
)
from frostline.tasks.declarations import Declaration, Metric, find_declaration

__all__ = ["Run", "Compare", "Tune", "Advise", "check_config", "check_targets", "find_conf_dir", "instantiate"]


@dataclass(kw_only=True)
class Cache:
    """The prefix cache: gigabytes on disk, gigabytes in memory."""

    enabled: bool
    max_gb: Gigabytes
    memory_gb: Gigabytes


@dataclass(kw_only=True)
class Run:
    """The root of a run's config; a component is `_target_` and keyword arguments, so its target is its schema.

    Its defaults stand in `conf/base.yaml`, what the other roots have besides in the file of each.
    """

    seed: Seed
    epochs: Count
    stop_after: Count | None
    outputs: str
    force: bool
    debug: bool
    test: bool
    group: str | None
    label: str | None
    judged: bool
    monitor: str | None
    cache: Cache
    task: dict[str, Any]
    data: dict[str, Any]
    augment: dict[str, Any]
    backbone: dict[str, Any]
    adapter: dict[str, Any]
    head: dict[str, Any]
    freeze: dict[str, Any]
    objective: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    trainer: dict[str, Any]
    logger: dict[str, Any]
    launcher: dict[str, Any]

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """Return the config that plain containers hold, such as those of a YAML file or a record.

        Raises UserError, naming the key, for one that is unknown or missing (a file of another version, or one that
        was changed), and for a value of another type or out of range.
        """
        return read_node(cls, plain, "")

    def plain(self) -> dict[str, Any]:
        """Return plain containers of its own, as they stand in a file."""
        return asdict(self)

    @property
    def metric(self) -> str:
        """The validation metric that a resolved config is judged by: ``monitor``, or its task's first.

        Raises UserError where a task of the user's own leaves open which that is.
        """
        if self.monitor is None:
            raise UserError("monitor: a task of your own needs one; give the name of one of its scores.")
        return self.monitor


@dataclass(kw_only=True)
class Budget:
    """What every strategy may spend: so many epochs, or about so many seconds of training; null: no such bound."""

    epochs: Count | None
    seconds: Seconds | None


@dataclass(kw_only=True)
class ComparisonConfig:
    """What a comparison varies, and how it keeps that fair."""

    strategies: list[Any]
    seeds: list[Seed]
    axes: list[str]
    factor: str
    lr_grid: list[LearningRate]
    lr_extend: bool
    lr_seed: Seed | None
    budget: Budget
    profile: bool
    name: str | None


@dataclass(kw_only=True)
class Compare(Run):
    """The root of a comparison's config: a run's, and what varies."""

    compare: ComparisonConfig


@dataclass(kw_only=True)
class AdviceConfig:
    """How long an answer may take, and among whom it is sought."""

    within: Any
    least: Annotated[float, Range(ge=0)]
    candidates: dict[str, Any]
    rates: list[LearningRate]
    seeds: AtLeastOne
    history: bool
    name: str | None


@dataclass(kw_only=True)
class Advise(Run):
    """The root of advice's config: a run's, and how the answer is sought."""

    advise: AdviceConfig


@dataclass(kw_only=True)
class StudyConfig:
    """What a study searches, and how."""

    space: Any
    trials: Count
    sampler: str
    startup: AtLeastOne
    pruner: str
    min_epochs: AtLeastOne
    factor: Annotated[int, Range(ge=2)]
    seed: Seed | None
    timeout_s: Seconds | None
    storage: str | None
    name: str | None


@dataclass(kw_only=True)
class Tune(Run):
    """The root of a study's config: a run's, and what is searched."""

    tune: StudyConfig


def read_node(kind: Any, plain: Mapping[str, Any], where: str) -> Any:
    """Return the typed node at the key ``where``. Raises UserError as ``Run.read`` does."""
    hints, values = get_type_hints(kind, include_extras=True), dict(plain)
    for key, value in values.items():
        place = f"{where}.{key}" if where else str(key)
        if key not in hints:
            raise make_key_error(place, hints)
        if is_dataclass(hints[key]) and isinstance(value, Mapping):
            values[key] = read_node(hints[key], value, place)
        else:
            check_value(value, hints[key], place)
    for key in hints:
        if key not in values:
            place = f"{where}.{key}" if where else key
            raise UserError(f"{place}: a value is needed; this config is of another version, or was changed.")
    return kind(**values)


ROOTS: dict[str, type[Run]] = {"run": Run, "compare": Compare, "tune": Tune, "advise": Advise}
COMPONENTS = ("task", "data", "backbone", "head", "freeze", "optimizer", "schedule", "trainer", "launcher")

LARGEST = 2**63


def check_config(config: Mapping[str, Any], to_run: bool = True) -> None:
    """Check a resolved config as far as that goes without importing what it names.

    Root keys, components, ranges of values, targets; and what its Trainer is asked for, unless the run was made before
    and is only used (``to_run`` False). Raises UserError that names the key.
    """
    root = ROOTS[next((name for name in ROOTS if name in config), "run")]
    for key in config:
        if key not in get_type_hints(root):
            raise make_key_error(key, get_type_hints(root))
    for key in COMPONENTS:
        node = config.get(key)
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise UserError(f"{key}: {node!r} is no component; choose one of the group's, as {key}=NAME.")
    objective = config.get("objective")
    if not isinstance(objective, Mapping) or not list_components(objective, "objective"):
        raise UserError(f"objective: {objective!r} is invalid: expected one of the group's, as objective=task.")
    declared = find_declaration(str(config["task"]["_target_"]))
    if declared is not None and config["monitor"] not in declared.names:
        raise make_choice_error("monitor", config["monitor"], declared.names)
    check_finite(config)
    read_node(root, config, "")
    check_early(config)
    if to_run:
        check_switches(config["trainer"])  # before the allow-list, which could not say what to use instead
    check_targets(config)


def find_monitor(config: Run) -> Metric:
    """Return the metric that a resolved config is judged by; a task of the user's own is imported to say it.

    Raises UserError for one that does not.
    """
    target = str(config.task["_target_"])
    declared = find_declaration(target) or getattr(locate(target, "task"), "declaration", None)
    if not isinstance(declared, Declaration):
        raise UserError(f"task: {target} does not declare its scores; give the class a `declaration` (docs/tasks.md).")
    return declared.metric(config.metric)


def check_finite(value: Any, where: str = "") -> None:
    """Refuse NaN, infinities, numbers beyond 64 bits and bytes anywhere in a config: no record can hold them.

    Raises UserError that names the key.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_finite(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            check_finite(inner, f"{where}[{index}]")
    elif isinstance(value, int) and abs(value) >= LARGEST:
        raise UserError(f"{where}: it is a whole number beyond 64 bits; give a smaller one.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: {value!r} is invalid: expected a finite number.")
    elif not isinstance(value, str | int | float | None):
        raise UserError(f"{where}: {type(value).__name__} is invalid: expected a text, a number or a list.")
