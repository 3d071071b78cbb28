"""The keys that data sets of every modality share, and their checks."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from frostline.config.signature import check_types
from frostline.data.index import DataIndex
from frostline.errors import make_choice_error
from frostline.ranges import AtLeastOne, Count, Gigabytes, Loaders, Share, WholeSeconds
from frostline.tasks.base import Task
from frostline.tasks.multiclass import Multiclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a data set is asked for, whatever its modality; ``task``, ``seed`` and ``index`` come with the run.

    Raises UserError naming a key whose value is of another type or out of range.
    """

    task: Task = field(default_factory=Multiclass)
    seed: int = 0
    index: DataIndex = field(default_factory=DataIndex)
    batch_size: Count = 32
    workers: Loaders = 0
    timeout_s: WholeSeconds | None = 300.0
    num_per_class: AtLeastOne | None = None
    fraction: Share | None = None
    balanced: bool = False
    on_bad: str = "error"
    memory_gb: Gigabytes = 2.0
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_types(type(self), vars(self), "data")
        if self.on_bad not in ("error", "skip"):
            raise make_choice_error("data.on_bad", self.on_bad, ("error", "skip"))

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return the keys of a config as options; raises UserError for a key that is not one."""
        known = [one.name for one in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise make_choice_error("data", key, known)
        return cls(**values)
