"""A fit as the tests do it: a network anew, or on from its last checkpoint."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from tests.lightning_modules import Data, Net, copy_tensors, make_net, make_trainer

from frostline.api.fit import Fitted, fit


class Break(pl.Callback):
    """Ends the training as a crash would, before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **named: Any) -> None:
        if trainer.global_step >= self.step:
            raise RuntimeError("broken")


def run(
    folder: Path, *callbacks: pl.Callback, epochs: int | None = 6, net: Net | None = None, **options: Any
) -> tuple[Net, Fitted]:
    """Fit a network, on from the last checkpoint in ``folder`` where there is one."""
    net = net or make_net()
    settings = {"plan": "gradual", "head": "classifier", "resume": "last", **options}
    return net, fit(make_trainer(folder, epochs, *callbacks), net, Data(), **settings)


def equal(one: Net, other: Net) -> bool:
    """Return whether all parameters and buffers are equal to the bit."""
    others = copy_tensors(other)
    return all(torch.equal(value, others[name]) for name, value in copy_tensors(one).items())
