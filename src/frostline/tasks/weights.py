"""Weights of classes in the loss, for data in which some are rare."""

from collections.abc import Sequence

import torch
from torch import Tensor

from frostline.errors import UserError

ClassWeights = str | list[float] | None


class PerDevice:
    """A tensor that is sent to each device once, where a step that sent it anew would wait for the device each time."""

    def __init__(self, tensor: Tensor) -> None:
        self._at = {tensor.device: tensor}

    def at(self, device: torch.device) -> Tensor:
        """Return the tensor on a device."""
        if device not in self._at:
            with torch.inference_mode(False):  # it is for training too, wherever it is wanted first
                self._at[device] = next(iter(self._at.values())).to(device)
        return self._at[device]


def check_weights(weights: ClassWeights) -> None:
    """Refuse what is neither null nor ``balanced`` nor a list of numbers of 0 or more. Raises UserError."""
    if isinstance(weights, str) and weights != "balanced":
        raise UserError(
            f"task.class_weights: {weights!r} is invalid: expected null, balanced, or a number for each class."
        )
    if isinstance(weights, list) and not (all(each >= 0 for each in weights) and any(weights)):
        raise UserError(f"task.class_weights: {weights} is invalid: expected weights of 0 or more, not all 0.")


def make_class_weights(weights: list[float], classes: Sequence[str]) -> Tensor:
    """Return the weights as a tensor [C]. Raises UserError unless there is one for each class."""
    if len(weights) != len(classes):
        raise UserError(
            f"task.class_weights: there are {len(weights)} weights and {len(classes)} classes; give one for each, in "
            f"this order: {', '.join(classes)}."
        )
    return torch.tensor(weights, dtype=torch.float32)
