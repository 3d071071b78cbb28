"""Training samples as a network is given them: augmented where their batch is."""

import torch
from torch import Tensor

from frostline.data.base import DataModule


def serve(data: DataModule, indices: Tensor, view: int) -> Tensor:
    """Return these samples [B, ...] under a view, made as :mod:`frostline.features.prefix` makes them."""
    made = data.augment_batch("train", data.splits["train"].inputs(indices, view), indices, view)
    assert isinstance(made, Tensor)
    return made


def epoch(data: DataModule) -> dict[int, Tensor]:
    """Return the samples of the next epoch by index, made as Lightning makes them."""
    here, samples = torch.device("cpu"), {}
    for batch in data.train_dataloader():
        moved = data.transfer_batch_to_device(batch, here, 0)
        samples |= dict(zip(batch["index"].tolist(), moved["inputs"], strict=True))
    return samples
