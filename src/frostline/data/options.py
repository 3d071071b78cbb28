"""The keys that data sets of every modality share, and their checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from frostline.config.signature import check_arguments, check_types
from frostline.data.index import DataIndex
from frostline.errors import make_choice_error
from frostline.ranges import AtLeastOne, Count, Gigabytes, Loaders, Share, WholeSeconds
from frostline.tasks.base import Task

OF_RUNS = ("preprocess", "augment", "task", "seed", "index")
"""The arguments that a data set is given by a run, and no config has."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a data set is asked for, whatever its modality; ``task``, ``seed`` and ``index`` come with the run.

    Raises UserError naming a key whose value is of another type or out of range.
    """

    task: Task
    seed: int
    index: DataIndex
    batch_size: Count
    workers: Loaders
    timeout_s: WholeSeconds | None
    num_per_class: AtLeastOne | None
    fraction: Share | None
    balanced: bool
    on_bad: str
    memory_gb: Gigabytes
    split_seed: int

    def __post_init__(self) -> None:
        check_types(type(self), vars(self), "data")
        if self.on_bad not in ("error", "skip"):
            raise make_choice_error("data.on_bad", self.on_bad, ("error", "skip"))

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Return the keys of a config as options; raises UserError for a key that is not one, or is missing."""
        own = {key: value for key, value in values.items() if key not in OF_RUNS}
        check_arguments(cls, own, OF_RUNS, "data", typed=False)  # __post_init__ looks at the types
        return cls(**values)
