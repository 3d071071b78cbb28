"""Time the least a cached linear probe can take: one forward pass over the data, then the head's own steps.

    python benchmarks/floor.py DATA_ROOT --size 96 --epochs 20

Reading the images is timed apart: the floor is the forward pass (channels-last, inference mode, all three splits)
plus plain PyTorch's epochs of a linear head on the features, validation each epoch. Prints one line of JSON.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from plain_lightning import image_set, pretrained_backbone


def read(root: Path, split: str, size: int) -> tuple[Tensor, Tensor]:
    """Return a split's images [N, 3, S, S] float32, normalised, and its labels [N]."""
    images = image_set(root, split, size)
    pixels, labels = next(iter(DataLoader(images, batch_size=len(images))))
    return pixels, labels


@torch.inference_mode()
def extract(network: nn.Module, pixels: Tensor, batch_size: int) -> Tensor:
    """Return the features [N, 1280] of images [N, 3, S, S], computed in channels-last layout."""
    parts = [network(part.contiguous(memory_format=torch.channels_last)) for part in pixels.split(batch_size)]
    return torch.cat(parts)


def train_head(features: dict[str, Tensor], labels: dict[str, Tensor], options: argparse.Namespace) -> float:
    """Train a linear head by AdamW, validating each epoch; return the accuracy of the last epoch's head on test."""
    torch.manual_seed(options.seed)
    head = nn.Linear(1280, int(labels["train"].max()) + 1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=options.lr)
    for _ in range(options.epochs):
        for batch in torch.randperm(len(labels["train"])).split(options.batch_size):
            optimizer.zero_grad()
            functional.cross_entropy(head(features["train"][batch]), labels["train"][batch]).backward()
            optimizer.step()
        accuracy(head, features["val"], labels["val"])
    return accuracy(head, features["test"], labels["test"])


@torch.no_grad()
def accuracy(head: nn.Module, features: Tensor, labels: Tensor) -> float:
    return (head(features).argmax(1) == labels).float().mean().item()


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Return seconds of reading, of the forward pass and of the head, and the test accuracy."""
    marks = [time.perf_counter()]
    sets = {split: read(options.root, split, options.size) for split in ("train", "val", "test")}
    marks.append(time.perf_counter())
    network = pretrained_backbone().eval().to(memory_format=torch.channels_last)
    features = {split: extract(network, pixels, options.batch_size).clone() for split, (pixels, _) in sets.items()}
    marks.append(time.perf_counter())
    score = train_head(features, {split: labels for split, (_, labels) in sets.items()}, options)
    marks.append(time.perf_counter())
    reading, forward, head = (after - before for before, after in zip(marks, marks[1:], strict=False))
    return {"reading": reading, "forward": forward, "head": head, "test_accuracy": score}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with train/, val/ and test/, one folder per class in each")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
