"""Moves of modules that copy what they move, as from a processor to a GPU, in whatever process imports this."""

from collections.abc import Callable

import pytorch_lightning as pl
from torch import Tensor, nn


def copied(apply: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Let `to`, `cpu` and their like give a module new tensors, where on one device they leave it those that it has."""

    def move(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        return apply(module, lambda tensor: change(tensor).clone(), recurse)

    return move


class Moving(pl.Callback):
    """Lets everything in its process move so, from the moment at which a run's Trainer is made."""

    def __init__(self) -> None:
        nn.Module._apply = copied(nn.Module._apply)  # type: ignore[method-assign]
