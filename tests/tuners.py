"""A module that trains a network, as a run makes it, and what it meets, for tests that need nothing else of a run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from frostline.backbones.base import Backbone
from frostline.processes.stopping import STOP
from frostline.tasks.base import Task
from frostline.tasks.multiclass import Multiclass
from frostline.training.module import NO_WEIGHTS, FineTuner
from frostline.training.objectives.base import Objective
from frostline.training.objectives.choose import make_objectives
from frostline.training.optim import Optimization, Schedule, constant

TASK_LOSS = {"_target_": "frostline.training.objectives.task.TaskLoss"}


class Asked(Callback):
    """Asks the process to stop after the first step of an epoch, as SIGTERM does."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, 0):
            STOP.ask("asked")


class Scripted(Multiclass):
    """A task whose accuracy on validation is known beforehand, epoch by epoch."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__(label_smoothing=0.0, class_weights=None)
        self.values = iter(values)

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        return {"accuracy": next(self.values)}


def make_tuner(
    backbone: Backbone,
    head: nn.Module,
    task: Task | None = None,
    make: Callable[..., Any] = torch.optim.SGD,
    rate: float = 0.1,
    schedule: Schedule | None = None,
    objective: Objective | None = None,
    start_weights: Mapping[str, Tensor] = NO_WEIGHTS,
) -> FineTuner:
    """Return the module for a network; by default of classes, by their loss, at a constant rate."""
    objectives = make_objectives(TASK_LOSS)
    if objective is not None:
        objectives["task"] = objective
    optimization = Optimization(make, rate, schedule or constant(0.0))
    return FineTuner(
        backbone,
        head,
        task or Multiclass(label_smoothing=0.0, class_weights=None),
        objectives,
        optimization,
        start_weights,
    )
