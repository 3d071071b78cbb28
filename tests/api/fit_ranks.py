"""A script that people would start themselves: a fit on two ranks, which Lightning starts anew from this file.

    python tests/api/fit_ranks.py FOLDER EPOCHS BREAK_AT [drift]

Prints nothing; each rank writes rank-N.pt: its weights after each phase, what came of the fit, or how it failed.
"""

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from tests.api.fitting import Break
from tests.lightning_modules import Data, Net, copy_tensors, make_net, make_trainer

from frostline.api.fit import fit
from frostline.processes.lifetime import exit_process


class Watch(pl.Callback):
    """Copies all tensors as each phase ends."""

    def __init__(self) -> None:
        self.ends: list[dict[str, torch.Tensor]] = []

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ends.append(copy_tensors(pl_module))


class Drifting(Net):
    """Steps of its own on one rank alone."""

    def on_train_epoch_end(self) -> None:
        with torch.no_grad():
            self.get_parameter("classifier.1.weight").add_(self.global_rank)


def main(folder: Path, epochs: int, step: int, *ways: str) -> None:
    """Fit, and write what each rank has."""
    net = make_net() if "drift" not in ways else Drifting()
    watch = Watch()
    options = {"strategy": "ddp", "devices": 2, "limit_val_batches": 0}  # validation would share the buffers
    trainer = make_trainer(folder, epochs, Break(step), watch, **options)
    found: dict[str, Any] = {}
    try:
        done = fit(trainer, net, Data(), "gradual", head="classifier", resume="last")
        found |= {"epochs": [phase.epochs for phase in done.phases], "metrics": dict(done.metrics)}
    except RuntimeError as error:
        found["error"] = str(error)
    found |= {"ends": watch.ends, "tensors": copy_tensors(net), "rates": net.rates}
    torch.save(found, folder / f"rank-{trainer.global_rank}.pt")
    exit_process(0)  # a rank that has failed waits for nobody


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
