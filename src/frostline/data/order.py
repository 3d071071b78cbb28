"""In which order samples are served: batches that are a function of (seed, epoch), alike in length where that pays."""

import hashlib
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from frostline.errors import UserError
from frostline.files.atomic import encoded


def stable_seed(*parts: object) -> int:
    """Return a 63-bit number that depends on the text of ``parts`` alone, in any process and version of Python."""
    digest = hashlib.blake2b(encoded("/".join(map(str, parts))), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def permutation(n: int, *parts: object) -> Tensor:
    """Return a random order [n] that is a function of ``parts`` alone."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(stable_seed(*parts)))


WINDOW = 8
"""Batches among which samples are sorted by length, so that little of a batch is padding."""


def by_length(indices: Tensor, lengths: Tensor | None) -> Tensor:
    """Return these indices sorted by the samples' lengths, where they have any."""
    return indices if lengths is None else indices[lengths[indices].argsort(stable=True)]


def drawn(order: Tensor, draws: Tensor) -> Tensor:
    """Return as many samples as ``order`` [n] has, each as often as its share of ``draws`` [n] says, or once more.

    Systematic sampling: evenly spaced marks on the shares, laid end to end, each pick their sample. Samples of equal
    shares lie together, in this order, so that a class as a whole gets its share as well.
    """
    order = order[draws[order].argsort(stable=True)]
    ends = draws[order].double().cumsum(0)
    marks = (torch.arange(len(order), dtype=torch.float64) + 0.5) * (ends[-1] / len(order))
    return order[torch.searchsorted(ends, marks)]


CPU = torch.device("cpu")


class EpochBatches(Sampler[tuple[int, Tensor, Tensor]]):
    """Batches of an epoch as (view, indices, weight): their order is a function of (seed, epoch) alone.

    An epoch is divided into ceil(n / batch_size) batches of nearly equal size: no sample is dropped, and no tiny last
    batch upsets BatchNorm. ``batch_size`` counts the samples of all ranks together. Where they are shuffled, to train,
    each batch is shared out to the ranks, and ``weight`` makes the mean of their losses that of the whole batch, when
    its parts differ by a sample. Else, to evaluate, whole batches go round (some ranks get an empty one in the end),
    so that every sample is seen once, and in the very batch in which one rank alone would see it. The first ``skip``
    batches to train on are left out. With ``lengths`` [n] a batch holds samples of similar length: shuffled ones are
    sorted within windows, then the batches are shuffled. With ``draws`` [n] as many samples are drawn in these
    proportions, some of them several times, others not at all. The indices [B] and the weight [] of each batch are on
    ``device``, where all of an epoch's go at once.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        shuffle: bool,
        rank: int = 0,
        world: int = 1,
        view: Callable[[int], int] = lambda epoch: 0,
        skip: int = 0,
        lengths: Tensor | None = None,
        draws: Tensor | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.skip, self.lengths, self.draws, self.device = skip, lengths, draws, device
        self.n, self.seed, self.shuffle, self.rank, self.world, self.view = n, seed, shuffle, rank, world, view
        self.batches = math.ceil(n / batch_size)
        self.epoch = 0
        if shuffle and n // self.batches < world:
            raise UserError(
                f"data.batch_size: batches of {batch_size} from {n} samples leave some of {world} processes without "
                f"any; it counts the samples of all processes together and must be larger."
            )

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; Lightning calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches - self.skip if self.shuffle else math.ceil(self.batches / self.world)

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        view = self.view(self.epoch)
        if self.shuffle:
            whole = self._shuffled()[self.skip :]
            batches = [batch[self.rank :: self.world] for batch in whole]
            shares = [len(own) * self.world / len(batch) for own, batch in zip(batches, whole, strict=True)]
        else:
            ordered = by_length(torch.arange(self.n), self.lengths)
            batches = list(ordered.tensor_split(self.batches)[self.rank :: self.world])
            batches += [torch.arange(0)] * (len(self) - len(batches))
            shares = [1.0] * len(batches)
        moved = torch.cat([torch.arange(0), *batches]).to(self.device).split([len(batch) for batch in batches])
        for batch, weight in zip(moved, torch.tensor(shares).to(self.device), strict=True):
            yield view, batch, weight

    def _shuffled(self) -> list[Tensor]:
        order = permutation(self.n, self.seed, "order", self.epoch)
        if self.draws is not None:
            order = drawn(order, self.draws)[permutation(self.n, self.seed, "drawn", self.epoch)]
        if self.lengths is None:
            return list(order.tensor_split(self.batches))
        windows = order.tensor_split(max(1, self.batches // WINDOW))
        batches = torch.cat([by_length(window, self.lengths) for window in windows]).tensor_split(self.batches)
        return [batches[place] for place in permutation(self.batches, self.seed, "batches", self.epoch).tolist()]
