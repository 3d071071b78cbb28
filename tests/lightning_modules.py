"""A LightningModule of somebody's own, as people write them: BatchNorm, dropout, random augmentation, a schedule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

SAMPLES, FEATURES, CLASSES = 48, 6, 3


def block(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(0.3))


class Net(pl.LightningModule):
    """Three blocks and a classifier; ``optimizer`` makes what ``configure_optimizers`` returns."""

    def __init__(self, optimizer: Callable[["Net"], Any] | None = None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(block(FEATURES, 8), block(8, 8), block(8, 8))
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(8, CLASSES))
        self.make: Callable[[Any], Any] = optimizer or (lambda net: torch.optim.AdamW(net.parameters(), lr=0.01))
        self.rates: list[dict[str, float]] = []
        self.held: list[set[str]] = []
        self.modes: list[set[str]] = []

    def forward(self, rows: Tensor) -> Tensor:
        return self.classifier(self.blocks(rows))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        rows, labels = batch
        self._note()
        loss = functional.cross_entropy(self(rows + 0.1 * torch.randn_like(rows)), labels)
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def _note(self) -> None:
        """Remember of each step which parameters have which rate, and which modules train."""
        names = {parameter: name for name, parameter in self.named_parameters()}
        groups = [group for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        self.rates.append({names[parameter]: group["lr"] for group in groups for parameter in group["params"]})
        self.modes.append({path for path, module in self.named_modules() if module.training})

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        rows, labels = batch
        self.log("val_loss", functional.cross_entropy(self(rows), labels), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return self.make(self)


class Data(pl.LightningDataModule):
    """Rows of two Gaussians and a rest, in random order each epoch."""

    def __init__(self, workers: int = 0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(5)
        self.rows = torch.randn(SAMPLES, FEATURES, generator=random)
        self.labels = (self.rows[:, 0] > 0).long() + (self.rows[:, 1] > 1).long()
        self.workers = workers

    def train_dataloader(self) -> DataLoader:
        data = TensorDataset(self.rows[:32], self.labels[:32])
        return DataLoader(data, batch_size=8, shuffle=True, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(self.rows[32:], self.labels[32:]), batch_size=8)


def make_net(optimizer: Callable[[Net], Any] | None = None, seed: int = 0) -> Net:
    """Return a network whose weights, and whatever else is random, depend on ``seed``."""
    torch.manual_seed(seed)
    return Net(optimizer)


def make_trainer(folder: Path, epochs: int | None = None, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """Return a quiet Trainer that keeps its last checkpoint in ``folder``."""
    keeps = ModelCheckpoint(dirpath=folder, save_last=True, filename="{epoch}", save_top_k=-1)
    settings = {"accelerator": "cpu", "devices": 1, "logger": False, "default_root_dir": str(folder), **options}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(max_epochs=epochs, callbacks=[*callbacks, keeps], **{**quiet, **settings})


def copy_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of every parameter and buffer by its name."""
    return {name: value.detach().clone() for name, value in [*module.named_parameters(), *module.named_buffers()]}
