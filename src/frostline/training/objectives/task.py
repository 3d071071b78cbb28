"""The task's own loss."""

from torch import Tensor

from frostline.tasks.base import Task
from frostline.training.objectives.base import Counts, Objective, Step


class TaskLoss(Objective):
    """The loss that the task defines, and the score that it counts while training."""

    solvable = True

    def list_counts(self, task: Task) -> tuple[str, ...]:
        return "loss", task.running

    def __call__(self, step: Step) -> tuple[Tensor, Counts]:
        task = step.module.task
        loss = task.loss(step.outputs, step.labels)
        return loss, {"loss": loss.detach().float() * len(step), task.running: task.hits(step.outputs, step.labels)}
