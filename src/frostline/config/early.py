"""The keys of components that are checked before any of them is imported, so before a worker starts."""

from collections.abc import Mapping
from typing import Any, TypedDict, get_type_hints

from frostline.config.signature import check_value
from frostline.ranges import (
    AtLeastOne,
    Count,
    Gigabytes,
    LearningRate,
    Loaders,
    Processes,
    Restarts,
    Seconds,
    Share,
    Side,
    Smoothing,
    WholeSeconds,
)


class TaskKeys(TypedDict, total=False):
    """Keys of the node `task` that are checked early."""

    label_smoothing: Smoothing


class DataKeys(TypedDict, total=False):
    """Keys of the node `data` that are checked early."""

    batch_size: Count
    tokens: Count
    size: Side | None
    views: Count | None
    workers: Loaders
    timeout_s: WholeSeconds | None
    num_per_class: AtLeastOne | None
    fraction: Share | None
    memory_gb: Gigabytes


class OptimizerKeys(TypedDict, total=False):
    """Keys of the node `optimizer` that are checked early."""

    lr: LearningRate


class LauncherKeys(TypedDict, total=False):
    """Keys of the node `launcher` that are checked early."""

    workers: Processes | None
    threads: Processes | None
    timeout_s: Seconds | None
    restarts: Restarts


EARLY = {"task": TaskKeys, "data": DataKeys, "optimizer": OptimizerKeys, "launcher": LauncherKeys}
"""The keys of components that are checked before any of them is imported, so before a worker starts: those that are
searched and varied most. A constructor names the same types; what else it takes, it says itself when it is called."""


def check_early(config: Mapping[str, Any]) -> None:
    """Check the values of components that programs rely on. Raises UserError: key, value and what is expected."""
    for node, keys in EARLY.items():
        for key, hint in get_type_hints(keys, include_extras=True).items():
            if key in config[node]:
                check_value(config[node][key], hint, f"{node}.{key}")
