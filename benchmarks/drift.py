"""Show that unfreezing under DDP lets the ranks drift apart with Lightning's usual callback, and not with Frostline.

    python benchmarks/drift.py

Both train the same small network on the same digits on two ranks (gloo, on processors), the head first, then all.
Prints for each a hash of the backbone's and the head's parameters on every rank. Lightning 2.6.6 raises no error.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from frostline.backbones.base import Backbone
from frostline.backbones.traced.builders import timm_backbone
from frostline.config.compose import compose, resolve
from frostline.runs.build import Builder

RANKS = 2
SIZE = 32
EPOCHS = 3


class Usual(pl.LightningModule):
    """A backbone with a head, as users of the callback write it."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.num_features, 10)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        images, labels = batch
        return functional.cross_entropy(self.head(self.backbone(images)), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=1e-3)


def digest(module: nn.Module) -> str:
    """Return the start of a SHA-256 of a module's parameters."""
    total = hashlib.sha256()
    for parameter in module.parameters():
        total.update(parameter.detach().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def train_as_usual() -> None:
    """Be one rank: train the head for an epoch, then all of it, by Lightning's callback; print what it ended with."""
    warnings.filterwarnings("ignore")
    pl.seed_everything(0, verbose=False)
    module = Usual(
        timm_backbone(
            "test_resnet", "none", size=SIZE, channels_last="auto", batch_norm="auto", compile=False, options={}
        )
    )
    config, builder = resolve(compose("run", ["data=digits", "data.size=null", "data.num_per_class=16"])), Builder()
    split = builder.data(config, module.backbone, builder.task(config)).splits["train"]
    images = split.inputs(torch.arange(len(split)), 0)
    assert isinstance(images, Tensor)
    digits = TensorDataset(images, split.labels)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=RANKS,
        strategy="ddp",
        max_epochs=EPOCHS,
        callbacks=[BackboneFinetuning(unfreeze_backbone_at_epoch=1, backbone_initial_lr=1e-3)],
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    )
    trainer.fit(module, DataLoader(digits, batch_size=20, shuffle=True))
    print(f"rank {trainer.global_rank}: backbone {digest(module.backbone)}, head {digest(module.head)}", flush=True)


def usual() -> list[str]:
    """Start the ranks by torchrun; return what each ended with."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    done = subprocess.run([*torchrun, __file__, "--rank"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return sorted(line for line in done.stdout.splitlines() if line.startswith("rank "))


def frostline(outputs: Path) -> list[str]:
    """Run Frostline's gradual unfreezing on as many ranks; return what its log says of them after each phase."""
    command = [sys.executable, "-m", "frostline", "run", "freeze=gradual", "trainer=ddp_cpu", f"outputs={outputs}"]
    network = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", f"data.size={SIZE}"]
    length = [f"trainer.devices={RANKS}", f"epochs={EPOCHS}", "head.solver=null"]
    data = ["data=digits", "data.num_per_class=16", "data.batch_size=40", "launcher.threads=1", "optimizer.lr=1e-3"]
    done = subprocess.run([*command, *network, *length, *data], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    log = next(outputs.glob("runs/*/log.txt")).read_text()
    said = [line[line.index("After phase") :] for line in log.splitlines() if "After phase" in line]
    return list(dict.fromkeys(said))  # each rank says it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", action="store_true", help="be one of the ranks that torchrun has started")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if parser.parse_args().rank:
        return train_as_usual()
    print("Lightning's BackboneFinetuning under DDP, unfrozen after the first epoch:")
    print(*usual(), sep="\n")
    with tempfile.TemporaryDirectory(prefix="frostline-drift-") as folder:
        print("Frostline's gradual unfreezing:")
        print(*frostline(Path(folder)), sep="\n")


if __name__ == "__main__":
    main()
