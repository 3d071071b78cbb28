"""The product's FSDP on processors, which it refuses to users, and a rank that trains several runs after another.

``python -m processors RUNS`` is that rank; RUNS is a JSON file with a list of {folder, stop, halt, origin}. A run is
stopped after the epoch ``stop``, or by a SIGTERM to rank 1 in its training step ``halt``, if any, and begins with the
checkpoints of the run in ``origin``, if any. In ``shares.json`` it leaves which share of the weights the rank held
after each fit's first batch, in ``gathered.json`` how many bytes it gathered of each type.
"""

import json
import os
import shutil
import signal
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import pytorch_lightning as pl
import yaml
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from frostline.config.schema import Run
from frostline.files.atomic import write_json
from frostline.files.decisions import Decision
from frostline.launchers.worker import attempt
from frostline.processes.lifetime import exit_process
from frostline.processes.stopping import Interrupted, stopping_on_signals
from frostline.runs import setup
from frostline.training.module import FineTuner
from frostline.training.sharded import Sharded


class OnProcessors(Sharded):
    """Sharded by gloo; it notes what a rank holds, and what it gathers."""

    device = "cpu"
    shares: list[float] = []
    gathered: Counter[str] = Counter()

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


def gather(output_tensor: Tensor, *args, **kwargs):
    """Gather as ``fully_shard`` does, and note how many bytes of which type."""
    OnProcessors.gathered[str(output_tensor.dtype).removeprefix("torch.")] += output_tensor.nbytes
    return GATHER(output_tensor, *args, **kwargs)


def halting(halt: int | None):
    """Return a training step that asks rank 1 to stop when it is called for the ``halt``-th time."""
    steps = count(1)

    def training_step(self, *args, **kwargs):
        if next(steps) == halt and distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return STEP(self, *args, **kwargs)

    return training_step


STEP = FineTuner.training_step
GATHER = distributed.all_gather_single


def train(folder: Path, stop: int | None, halt: int | None, origin: str | None) -> None:
    """Train what the resolved config in ``folder`` says, as a rank does, and leave a record."""
    if distributed.is_initialized():
        distributed.barrier()
        if origin is not None and distributed.get_rank() == 0:
            shutil.copytree(Path(origin) / "checkpoints", folder / "checkpoints")
        distributed.barrier()
    setup.await_decision = lambda folder, epoch: Decision.STOP if epoch == stop else Decision.GO_ON
    FineTuner.training_step = halting(halt)
    OnProcessors.shares, OnProcessors.gathered = [], Counter()
    try:
        with stopping_on_signals():
            record = attempt(Run.read(yaml.safe_load((folder / "resolved.yaml").read_text())), folder)
    except Interrupted:
        return
    if distributed.get_rank() == 0:
        write_json(folder / "shares.json", OnProcessors.shares)
        write_json(folder / "gathered.json", OnProcessors.gathered)
        record.write(folder)


if __name__ == "__main__":
    from processors import gather, train  # the module that configs name, not a second one of the same code

    distributed.all_gather_single = gather
    for run in json.loads(Path(sys.argv[1]).read_text()):
        train(Path(run["folder"]), run["stop"], run["halt"], run["origin"])
    exit_process(0)
