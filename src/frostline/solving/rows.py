"""Features [N, D] in one tensor or in several parts, which may be mapped from disk, gone over chunk by chunk."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

Features = Tensor | Sequence[Tensor]
"""Features [N, D] of any floating type: one tensor, or parts that follow one another, each perhaps a mapped file."""

CHUNK = 4096
"""So many samples at most are brought into memory, standardised and multiplied at a time."""


class Rows:
    """Features of which no more than a chunk is in memory at a time, unless its parts are in memory already."""

    def __init__(self, features: Features):
        self.parts = [features] if isinstance(features, Tensor) else [part for part in features if len(part)]
        assert self.parts and all(part.ndim == 2 for part in self.parts), "features are [N, D]"
        self.width, self.device = self.parts[0].shape[1], self.parts[0].device

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def chunks(self, size: int = CHUNK) -> Iterator[Tensor]:
        """Yield the features in order as they are, [n, D], n at most ``size``."""
        for part in self.parts:
            yield from part.split(size)

    def columns(self, size: int) -> Iterator[Tensor]:
        """Yield the features as float32 [N, d], d at most ``size``, from the first column to the last."""
        for start in range(0, self.width, size):
            yield torch.cat([part[:, start : start + size].float() for part in self.parts])


def multiply(features: Features, weight_CD: Tensor, bias_C: Tensor) -> Tensor:
    """Return the outputs [N, C] of a linear layer for features that may be mapped from disk."""
    return torch.cat([chunk.float() @ weight_CD.T + bias_C for chunk in Rows(features).chunks()])
