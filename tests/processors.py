"""The product's FSDP on processors, which it refuses to users, and a rank that trains several runs after another.

``python -m processors RUNS`` is that rank; RUNS is a JSON file with a list of {folder, stop, origin}. A run is stopped
after the epoch ``stop``, if any, and begins with the checkpoints of the run in ``origin``, if any.
"""

import json
import shutil
import sys
from pathlib import Path

import pytorch_lightning as pl
import yaml
from torch import distributed
from torch.distributed.tensor import DTensor

from frostline import assemble
from frostline.files import write_json
from frostline.training.module import FineTuner
from frostline.training.sharded import Sharded
from frostline.worker import attempt


class OnProcessors(Sharded):
    """Sharded by gloo; after each fit's first batch it notes which share of the weights each rank holds."""

    device = "cpu"
    shares: list[float] = []

    def batch_to_device(self, *args, **kwargs):
        module = self.lightning_module
        if isinstance(module, FineTuner) and self.units:
            self.shares.append(share(module))
        return super().batch_to_device(*args, **kwargs)


def share(module: pl.LightningModule) -> float:
    """Return which share of a module's weights lies on this rank."""
    whole = {id(p): p for p in module.parameters()}.values()
    held = sum(p.to_local().numel() if isinstance(p, DTensor) else p.numel() for p in whole)
    return held / sum(p.numel() for p in whole)


def train(folder: Path, stop: int | None, origin: str | None) -> None:
    """Train what the resolved config in ``folder`` says, as a rank does, and leave a record."""
    if distributed.is_initialized():
        distributed.barrier()
        if origin is not None and distributed.get_rank() == 0:
            shutil.copytree(Path(origin) / "checkpoints", folder / "checkpoints")
        distributed.barrier()
    assemble.ask = lambda folder, epoch: epoch == stop
    OnProcessors.shares = []
    record = attempt(yaml.safe_load((folder / "resolved.yaml").read_text()), folder)
    if distributed.get_rank() == 0:
        write_json(folder / "shares.json", OnProcessors.shares)
        record.write(folder)


if __name__ == "__main__":
    from processors import train  # the module that configs name, not a second one of the same code

    for run in json.loads(Path(sys.argv[1]).read_text()):
        train(Path(run["folder"]), run["stop"], run["origin"])
