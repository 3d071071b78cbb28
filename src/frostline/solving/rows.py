"""Features [N, D] in one tensor or in several parts, which may be mapped from disk, gone over chunk by chunk."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

Features = Tensor | Sequence[Tensor]
"""Features [N, D] of any floating type: one tensor, or parts that follow one another, each perhaps a mapped file."""

CHUNK = 1024
"""So many samples at most are brought into memory, standardised and multiplied at a time."""


class Rows:
    """Features of which no more than a chunk is in memory at a time, unless its parts are in memory already."""

    def __init__(self, features: Features):
        self.parts = [features] if isinstance(features, Tensor) else [part for part in features if len(part)]
        assert self.parts and all(part.ndim == 2 for part in self.parts), "features are [N, D]"
        self.width, self.device = self.parts[0].shape[1], self.parts[0].device

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def chunks(self, size: int = CHUNK, start: int = 0, end: int | None = None) -> Iterator[Tensor]:
        """Yield the features of samples ``start`` to ``end`` in order as they are, [n, D], n at most ``size``."""
        end = len(self) if end is None else end
        for part in self.parts:
            chosen = part[max(0, start) : max(0, end)]
            if len(chosen):
                yield from chosen.split(size)
            start, end = start - len(part), end - len(part)

    def columns(self, size: int, start: int = 0, end: int | None = None) -> Iterator[Tensor]:
        """Yield columns ``start`` to ``end`` of all samples as float32 [N, d], d at most ``size``."""
        end = self.width if end is None else end
        for first in range(start, end, size):
            yield torch.cat([part[:, first : min(first + size, end)].float() for part in self.parts])


def multiply(features: Features, weight_CD: Tensor, bias_C: Tensor) -> Tensor:
    """Return the outputs [N, C] of a linear layer for features that may be mapped from disk."""
    return torch.cat([chunk.float() @ weight_CD.T + bias_C for chunk in Rows(features).chunks()])
