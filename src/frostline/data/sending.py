"""Batches on their way to where they are used: samples, what is stored of them, and a few numbers."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from frostline.data.inputs import Inputs, Ragged


class Tapped(NamedTuple):
    """What is stored of a batch for a head that reads several depths of a network.

    ``activation`` is that at the cut from which the network is run (None: it is not run at all), ``taps`` are the
    pooled activations [B, D] at or below it, by name.
    """

    activation: Inputs | None
    taps: dict[str, Tensor]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Tapped":
        """Return the same on a device; ``non_blocking`` is torch's."""
        return Tapped(
            None if self.activation is None else self.activation.to(device, non_blocking=non_blocking),
            {name: tap.to(device, non_blocking=non_blocking) for name, tap in self.taps.items()},
        )


Sent = TypeVar("Sent", Tensor, Ragged, Inputs, Tapped)


def send(inputs: Sent, device: torch.device) -> Sent:
    """Return inputs on a device; a GPU of CUDA's is not waited for, where they lie in pinned memory."""
    return inputs.to(device, non_blocking=device.type == "cuda")


def send_numbers(values: Tensor, device: torch.device) -> Tensor:
    """Return a few of the host's numbers on a device, which is not waited for."""
    ahead = device.type == "cuda"
    return (values.pin_memory() if ahead else values).to(device, non_blocking=ahead)
