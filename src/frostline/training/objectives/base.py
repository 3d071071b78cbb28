"""What a phase minimises: what objectives, and the penalties that are added to one, are given and give."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from frostline.data.inputs import Inputs
from frostline.tasks.base import Outputs, Task

if TYPE_CHECKING:
    from frostline.training.module import FineTuner

Batch = dict[str, Any]
"""What a loader serves, on the device: "inputs", "label" [B, ...], "index" [B] and "weight" []."""
Counts = dict[str, Tensor]
"""What is counted of a batch: sums over its samples [], whose mean over an epoch is recorded as ``train/NAME``."""


class Step:
    """One batch in training: what objectives ask of the network is computed once, and only where one asks."""

    def __init__(self, module: "FineTuner", batch: Batch):
        self.module, self.batch = module, batch

    def __len__(self) -> int:
        """Return how many samples the batch has."""
        return len(self.batch["label"])

    @property
    def inputs(self) -> Inputs:
        """The samples, or their activations at the phase's cut."""
        return self.batch["inputs"]

    @property
    def labels(self) -> Tensor:
        """The encoded labels [B, ...]."""
        return self.batch["label"]

    @cached_property
    def features(self) -> Any:
        """The backbone's output [B, D], or ``Ragged`` sequences of them, with its gradient."""
        return self.module.body(self.inputs)

    @cached_property
    def outputs(self) -> Outputs:
        """The head's output [B, width], or ``Ragged`` sequences of them, with its gradient."""
        return self.module.head(self.features)


class Objective(ABC):
    """What a phase minimises. A phase uses a copy, so what is kept at its beginning ends with it.

    ``scored`` says whether an epoch of it can be the best one, by the task's scores; ``solvable`` whether what
    ``frostline.training.solve`` finds is its optimum; ``name_in_plans`` by which name a plan's phase can ask for it.
    """

    scored: ClassVar[bool] = True
    solvable: ClassVar[bool] = False
    name_in_plans: ClassVar[str | None] = None

    def begin(self, module: "FineTuner") -> None:  # noqa: B027
        """Prepare for a phase that begins or goes on. Raises UserError where the network does not have what it needs.

        ``module.start_weights`` holds what the run began with, whatever has been trained since.
        """

    def list_counts(self, task: Task) -> tuple[str, ...] | None:
        """Return the names of what it counts; None where that is not known before it is done."""
        return None

    @abstractmethod
    def __call__(self, step: Step) -> tuple[Tensor, Counts]:
        """Return the loss, a mean over the batch [], and what is counted."""


class Penalty(ABC):
    """What is added to an objective, in each step."""

    def begin(self, module: "FineTuner") -> None:  # noqa: B027
        """Prepare for a phase, as ``Objective.begin`` does."""

    @abstractmethod
    def __call__(self, step: Step) -> Tensor:
        """Return what is added to the loss of a batch [], from its features, the weights or whatever it needs."""


class Penalised(Objective):
    """An objective with penalties, each of which is recorded under its name."""

    def __init__(self, objective: Objective, penalties: Mapping[str, Penalty]):
        self.objective, self.penalties = objective, dict(penalties)

    @property
    def scored(self) -> bool:  # type: ignore[override]
        return self.objective.scored

    def begin(self, module: "FineTuner") -> None:
        self.objective.begin(module)
        for penalty in self.penalties.values():
            penalty.begin(module)

    def list_counts(self, task: Task) -> tuple[str, ...] | None:
        names = self.objective.list_counts(task)
        return None if names is None else (*names, *self.penalties)

    def __call__(self, step: Step) -> tuple[Tensor, Counts]:
        loss, counts = self.objective(step)
        added = {name: penalty(step) for name, penalty in self.penalties.items()}
        return sum(added.values(), loss), {
            **counts,
            **{name: value.detach() * len(step) for name, value in added.items()},
        }
