"""The keys that data sets of every modality share, and their checks."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from frostline.data.index import DataIndex
from frostline.errors import UserError, choices
from frostline.tasks.base import Task
from frostline.tasks.multiclass import Multiclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a data set is asked for, whatever its modality; ``task``, ``seed`` and ``index`` come with the run.

    ``least`` says what numbers are at least; None always passes. Raises UserError naming the key out of range.
    """

    least: ClassVar[Mapping[str, float]] = {"batch_size": 1, "views": 1, "workers": 0, "timeout_s": 1, "memory_gb": 0}

    task: Task = field(default_factory=Multiclass)
    seed: int = 0
    index: DataIndex = field(default_factory=DataIndex)
    batch_size: int = 32
    workers: int = 0
    timeout_s: float | None = 300.0
    num_per_class: int | None = None
    fraction: float | None = None
    balanced: bool = False
    on_bad: str = "error"
    memory_gb: float = 2.0
    split_seed: int = 0

    def __post_init__(self) -> None:
        for key, least in self.least.items():
            value = getattr(self, key, None)
            if value is not None and value < least:
                raise UserError(f"data.{key}: {value} is too small; it is at least {least}.")
        if self.on_bad not in ("error", "skip"):
            raise choices("data.on_bad", self.on_bad, ("error", "skip"))

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return the keys of a config as options; raises UserError for a key that is not one."""
        known = [one.name for one in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise choices("data", key, known)
        return cls(**values)
