"""Weights of classes in the loss, for data in which some are rare."""

from collections.abc import Sequence

import torch
from torch import Tensor

from frostline.errors import UserError

ClassWeights = str | list[float] | None


def check_weights(weights: ClassWeights) -> None:
    """Refuse what is neither null nor ``balanced`` nor a list of numbers of 0 or more. Raises UserError."""
    if isinstance(weights, str) and weights != "balanced":
        raise UserError(
            f"task.class_weights: {weights!r} will not do; it is null, balanced, or a number for each class."
        )
    if isinstance(weights, list) and not (all(each >= 0 for each in weights) and any(weights)):
        raise UserError(f"task.class_weights: {weights} will not do; weights are 0 or more, and not all 0.")


def one_for_each(weights: list[float], classes: Sequence[str]) -> Tensor:
    """Return the weights as a tensor [C]. Raises UserError unless there is one for each class."""
    if len(weights) != len(classes):
        raise UserError(
            f"task.class_weights: there are {len(weights)} weights and {len(classes)} classes; give one for each, in "
            f"this order: {', '.join(classes)}."
        )
    return torch.tensor(weights, dtype=torch.float32)
