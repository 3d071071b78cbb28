"""One of two ranks that exchange what lies on their GPU; both have the same one."""

import os
import sys
from typing import Any

import pytorch_lightning as pl
import torch

from frostline.config.compose import compose, resolve
from frostline.processes.lifetime import exit_process
from frostline.ranks.collectives import form_ranks, make_cluster_environment
from frostline.ranks.place import rank_variables

rank, meeting = int(sys.argv[1]), sys.argv[2]
os.environ |= rank_variables("run", rank, rank, 2, 2, 0, meeting)
quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", plugins=[make_cluster_environment()], **quiet)
group = form_ranks(trainer, resolve(compose("run", ["trainer=ddp_cpu", "trainer.devices=2"])))
assert group.add_up(torch.tensor([rank, 1], device="cuda")).tolist() == [1, 2]
rows = group.gather_rows(torch.full((rank + 1, 2), float(rank), device="cuda"))
assert not group.leads or rows.tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
weight = torch.full((2, 3, 4, 4), float(rank), device="cuda").to(memory_format=torch.channels_last)
group.copy(weight)
assert weight.device.type == "cuda" and not weight.any()
group.wait()
exit_process(0)
