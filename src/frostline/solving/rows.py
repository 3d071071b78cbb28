"""Features [N, D] in one tensor or in many, which may be mapped from disk, gone over chunk by chunk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

CHUNK = 1024
"""So many samples at most are brought into memory, standardised and multiplied at a time."""


class Scale(NamedTuple):
    """What is taken away from each column [D], and by what the rest is then multiplied [D]."""

    centre_D: Tensor
    factors_D: Tensor


@dataclass(frozen=True)
class Rows:
    """Features of which no more than a chunk is in memory at a time, unless their tensors are in memory already.

    ``blocks`` follow one another, each of tensors [n, d] of any floating type that stand side by side. Where there is
    a ``scale``, what is read of them is scaled.
    """

    blocks: Sequence[Sequence[Tensor]]
    scale: Scale | None = None

    def __len__(self) -> int:
        return sum(len(block[0]) for block in self.blocks)

    @property
    def width(self) -> int:
        """D."""
        return sum(tensor.shape[1] for tensor in self.blocks[0])

    @property
    def device(self) -> torch.device:
        """Where the features are."""
        return self.blocks[0][0].device

    def chunks(self, size: int = CHUNK, start: int = 0, end: int | None = None) -> Iterator[Tensor]:
        """Yield the features of samples ``start`` to ``end`` in order, [n, D], n at most ``size``."""
        end = len(self) if end is None else end
        for block in self.blocks:
            height = len(block[0])
            for first in range(max(0, start), min(end, height), size):
                yield self._read(block, slice(first, min(first + size, end, height)), 0, self.width)
            start, end = start - height, end - height

    def columns(self, size: int, start: int = 0, end: int | None = None) -> Iterator[Tensor]:
        """Yield columns ``start`` to ``end`` of all samples as float32 [N, d], d at most ``size``."""
        end = self.width if end is None else end
        for first in range(start, end, size):
            last = min(first + size, end)
            yield torch.cat([self._read(block, slice(None), first, last).float() for block in self.blocks])

    def take(self, places: Tensor) -> Tensor:
        """Return the features of the samples at these places [n] as float32 [n, D]."""
        found = torch.empty(len(places), self.width, device=self.device)
        places, start = places.to(self.device), 0
        for block in self.blocks:
            here = (start <= places) & (places < start + len(block[0]))
            found[here] = self._read(block, places[here] - start, 0, self.width).float()
            start += len(block[0])
        return found

    def load(self) -> Tensor:
        """Return all features [N, D] in memory."""
        return torch.cat(list(self.chunks(len(self))))

    def keep_columns(self, stretches: Sequence[range]) -> "Rows":
        """Return the columns of these stretches alone; the others are not read."""
        assert self.scale is None, "columns are kept before they are scaled"
        return Rows([[part for one in stretches for part in _cut(block, one.start, one.stop)] for block in self.blocks])

    def scale_columns(self, centre_D: Tensor, factors_D: Tensor) -> "Rows":
        """Return the same with each column centred and multiplied, whenever it is read."""
        assert self.scale is None, "columns are scaled once"
        return replace(self, scale=Scale(centre_D.to(self.device), factors_D.to(self.device)))

    def _read(self, block: Sequence[Tensor], samples: slice | Tensor, first: int, last: int) -> Tensor:
        parts = [part[samples] for part in _cut(block, first, last)]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if self.scale is None:
            return joined
        return (joined - self.scale.centre_D[first:last]) * self.scale.factors_D[first:last]


Features: TypeAlias = Tensor | Sequence[Tensor] | Rows
"""Features [N, D] of any floating type: one tensor, or parts that follow one another, each perhaps a mapped file."""


def make_rows(features: Features) -> Rows:
    """Return features as what can be gone over chunk by chunk; nothing is copied."""
    if isinstance(features, Rows):
        return features
    parts = [features] if isinstance(features, Tensor) else [part for part in features if len(part)]
    assert parts and all(part.ndim == 2 for part in parts), "features are [N, D]"
    return Rows([[part] for part in parts])


def stack_rows(tables: Sequence[Rows]) -> Rows:
    """Return the samples of several tables [N_i, D] one after the other; nothing is copied."""
    return Rows([block for table in tables for block in table.blocks])


def join_columns(tables: Sequence[Rows]) -> Rows:
    """Return tables [N, D_i] of the same samples side by side, whatever parts each one has; nothing is copied."""
    ends = sorted({end for table in tables for end in accumulate(len(block[0]) for block in table.blocks)})
    rows = zip(*(_divide(table.blocks, ends) for table in tables), strict=True)
    return Rows([[tensor for block in row for tensor in block] for row in rows])


def _divide(blocks: Sequence[Sequence[Tensor]], ends: Sequence[int]) -> Iterator[Sequence[Tensor]]:
    """Yield blocks that end at ``ends``, of the samples of all; the blocks given end at some of them."""
    start = 0
    for block in blocks:
        height = len(block[0])
        inner = [end - start for end in ends if start < end <= start + height]
        for low, high in pairwise([0, *inner]):
            yield [tensor[low:high] for tensor in block]
        start += height


def _cut(block: Sequence[Tensor], first: int, last: int) -> list[Tensor]:
    """Return columns ``first`` to ``last`` of tensors that stand side by side."""
    found, place = [], 0
    for tensor in block:
        low, high = max(first - place, 0), min(last - place, tensor.shape[1])
        if low < high:
            found.append(tensor[:, low:high])
        place += tensor.shape[1]
    return found


def multiply(features: Features, weight_CD: Tensor, bias_C: Tensor) -> Tensor:
    """Return the outputs [N, C] of a linear layer for features that may be mapped from disk."""
    return torch.cat([chunk.float() @ weight_CD.T + bias_C for chunk in make_rows(features).chunks()])
