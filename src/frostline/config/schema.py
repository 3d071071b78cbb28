"""The typed root of a config, the ranges of its values, and where the configs lie."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Self, get_type_hints

from frostline.config.allow import check_targets, conf_dir, instantiate, locate
from frostline.config.signature import unknown_key
from frostline.config.switches import check_switches
from frostline.errors import UserError, choices
from frostline.tasks.declarations import Declaration, Metric, declaration_of

__all__ = ["Run", "Compare", "Tune", "check_config", "check_targets", "conf_dir", "instantiate"]


@dataclass
class Cache:
    """The prefix cache: gigabytes on disk, gigabytes in memory."""

    enabled: bool = True
    max_gb: float = 20.0
    memory_gb: float = 1.0


def read_node(kind: Any, plain: Mapping[str, Any], where: str) -> Any:
    """Return the typed node at the key ``where``. Raises UserError for a key that it does not have."""
    hints, values = get_type_hints(kind), dict(plain)
    for key, value in values.items():
        place = f"{where}.{key}" if where else str(key)
        if key not in hints:
            raise unknown_key(place, hints)
        if is_dataclass(hints[key]) and isinstance(value, Mapping):
            values[key] = read_node(hints[key], value, place)
    return kind(**values)


@dataclass
class Run:
    """The root of a run's config; a component is `_target_` and keyword arguments, so its target is its schema."""

    seed: int = 0
    epochs: int = 10
    outputs: str = "outputs"
    force: bool = False
    debug: bool = False
    test: bool = True
    group: str | None = None
    label: str | None = None
    judged: bool = False
    monitor: str | None = None
    cache: Cache = field(default_factory=Cache)
    task: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    freeze: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    launcher: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """Return the config that plain containers hold, such as those of a YAML file or a record.

        Raises UserError for a key that it does not have: its file is of another version, or was changed.
        """
        return read_node(cls, plain, "")

    def plain(self) -> dict[str, Any]:
        """Return plain containers of its own, as they stand in a file."""
        return asdict(self)

    @property
    def metric(self) -> str:
        """The validation metric that a resolved config is judged by: ``monitor``, or its task's first."""
        assert self.monitor is not None, "the config is not resolved"
        return self.monitor


@dataclass
class Budget:
    """What every strategy may spend: so many epochs, or about so many seconds of training; null: no such bound."""

    epochs: int | None = None
    seconds: float | None = None


@dataclass
class Varied:
    """What a comparison varies, and how it keeps that fair."""

    strategies: list[Any] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    axes: list[str] = field(default_factory=list)
    factor: str = "freeze"
    lr_grid: list[float] = field(default_factory=list)
    lr_extend: bool = False
    lr_seed: int | None = None
    budget: Budget = field(default_factory=Budget)
    name: str | None = None


@dataclass
class Compare(Run):
    """The root of a comparison's config: a run's, and what varies."""

    compare: Varied = field(default_factory=Varied)


@dataclass
class Searched:
    """What a study searches, and how."""

    space: Any = None
    trials: int = 20
    sampler: str = "tpe"
    startup: int = 10
    pruner: str = "none"
    min_epochs: int = 1
    factor: int = 3
    seed: int | None = None
    timeout_s: float | None = None
    storage: str | None = None
    name: str | None = None


@dataclass
class Tune(Run):
    """The root of a study's config: a run's, and what is searched."""

    tune: Searched = field(default_factory=Searched)


ROOTS: dict[str, type[Run]] = {"run": Run, "compare": Compare, "tune": Tune}
COMPONENTS = ("task", "data", "backbone", "head", "freeze", "optimizer", "schedule", "trainer", "launcher")

MOST = 1_000_000
LONGEST_S = 1e9
"""Seconds that a wait can be told."""
LARGEST = 2**63
# key, whether it may be null, whether it is a whole number, the test, and the test in words
Rule = tuple[str, bool, bool, Callable[[float], bool], str]
RULES: tuple[Rule, ...] = (
    ("seed", False, True, lambda x: 0 <= x < 2**32, "0 or more and below 2**32"),
    ("epochs", False, True, lambda x: 1 <= x <= MOST, "1 to a million"),
    ("task.label_smoothing", False, False, lambda x: 0 <= x < 1, "0 or more and below 1"),
    ("cache.max_gb", False, False, lambda x: x >= 0, "0 or more"),
    ("cache.memory_gb", False, False, lambda x: x >= 0, "0 or more"),
    ("launcher.workers", True, True, lambda x: 1 <= x <= 10_000, "1 to 10,000, or null"),
    ("launcher.timeout_s", True, False, lambda x: 0 < x <= LONGEST_S, "more than 0, at most a billion, or null"),
    ("launcher.restarts", False, True, lambda x: 0 <= x <= 10_000, "0 to 10,000"),
    ("launcher.threads", True, True, lambda x: 1 <= x <= 10_000, "1 to 10,000, or null"),
    (
        "trainer.devices",
        False,
        True,
        lambda x: 1 <= x <= 10_000,
        "1 to 10,000; which GPUs they are says CUDA_VISIBLE_DEVICES",
    ),
    ("trainer.num_nodes", False, True, lambda x: 1 <= x <= 10_000, "1 to 10,000"),
    ("trainer.accumulate_grad_batches", False, True, lambda x: 1 <= x <= MOST, "1 to a million"),
    ("trainer.gradient_clip_val", True, False, lambda x: x >= 0, "0 or more, or null"),
    ("data.tokens", False, True, lambda x: 1 <= x <= MOST, "1 to a million"),
    ("data.size", True, True, lambda x: 1 <= x <= 10_000, "1 to 10,000, or null"),
    ("data.batch_size", False, True, lambda x: 1 <= x <= MOST, "1 to a million"),
    ("data.views", True, True, lambda x: 1 <= x <= MOST, "1 to a million, or null"),
    ("data.workers", False, True, lambda x: 0 <= x <= 1_000, "0 to 1,000"),
    ("data.timeout_s", True, False, lambda x: 1 <= x <= LONGEST_S, "1 to a billion, or null"),
    ("data.num_per_class", True, True, lambda x: x >= 1, "1 or more, or null"),
    ("data.fraction", True, False, lambda x: 0 < x <= 1, "more than 0 and at most 1, or null"),
    ("optimizer.lr", False, False, lambda x: x > 0, "more than 0"),
    ("tune.trials", False, True, lambda x: 1 <= x <= MOST, "1 to a million"),
    ("tune.startup", False, True, lambda x: x >= 1, "1 or more"),
    ("tune.min_epochs", False, True, lambda x: x >= 1, "1 or more"),
    ("tune.factor", False, True, lambda x: x >= 2, "2 or more"),
    ("tune.seed", True, True, lambda x: 0 <= x < 2**32, "0 or more and below 2**32, or null"),
    ("tune.timeout_s", True, False, lambda x: 0 < x <= LONGEST_S, "more than 0, at most a billion, or null"),
)


def check_config(config: Mapping[str, Any], to_run: bool = True) -> None:
    """Check a resolved config as far as that goes without importing what it names.

    Root keys, components, ranges of values, targets; and what its Trainer is asked for, unless the run was made before
    and is only used (``to_run`` False). Raises UserError that names the key.
    """
    root = next((name for name in ("compare", "tune") if name in config), "run")
    known = [one.name for one in fields(ROOTS[root])]
    for key in config:
        if key not in known:
            raise unknown_key(key, known)
    for key in COMPONENTS:
        node = config.get(key)
        if not isinstance(node, Mapping) or "_target_" not in node:
            raise UserError(f"{key}: {node!r} is no component; choose one of the group's, as {key}=NAME.")
    declared = declaration_of(str(config["task"]["_target_"]))
    if declared is not None and config["monitor"] not in declared.names:
        raise choices("monitor", config["monitor"], declared.names)
    check_finite(config)
    check_ranges(config)
    if to_run:
        check_switches(config["trainer"])  # before the allow-list, which could not say what to use instead
    check_targets(config)


def monitored(config: Run) -> Metric:
    """Return the metric that a resolved config is judged by; a task of the user's own is imported to say it.

    Raises UserError for one that does not.
    """
    target = str(config.task["_target_"])
    declared = declaration_of(target) or getattr(locate(target, "task"), "declaration", None)
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
        raise UserError(f"{where}: {value!r} will not do; it takes a finite number.")
    elif not isinstance(value, str | int | float | None):
        raise UserError(f"{where}: {type(value).__name__} will not do; it takes a text, a number or a list.")


def check_ranges(config: Mapping[str, Any]) -> None:
    """Check the numbers that scripts rely on; UserError names the key, the value and what is allowed."""
    for key, optional, whole, test, words in RULES:
        node, _, name = key.rpartition(".")
        holder = config.get(node, {}) if node else config
        if name not in holder or (optional and holder[name] is None):
            continue
        value = holder[name]
        kinds = (int,) if whole else (int, float)
        if type(value) not in kinds or not test(value):
            kind = "a whole number" if whole else "a number"
            raise UserError(f"{key}: {value!r} will not do; it takes {kind}: {words}.")
