"""In which order samples are served: batches that are a function of (seed, epoch), alike in length where that pays."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler

from frostline.errors import UserError
from frostline.files.atomic import encode_names


def make_seed(*parts: object) -> int:
    """Return a 63-bit number that depends on the text of ``parts`` alone, in any process and version of Python."""
    digest = hashlib.blake2b(encode_names("/".join(map(str, parts))), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def draw_permutation(n: int, *parts: object) -> Tensor:
    """Return a random order [n] that is a function of ``parts`` alone."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(make_seed(*parts)))


WINDOW = 8
"""Batches among which samples are sorted by length, so that little of a batch is padding."""


def sort_by_length(indices: Tensor, lengths: Tensor | None) -> Tensor:
    """Return these indices sorted by the samples' lengths, where they have any."""
    return indices if lengths is None else indices[lengths[indices].argsort(stable=True)]


def draw_samples(order: Tensor, draws: Tensor) -> Tensor:
    """Return as many samples as ``order`` [n] has, each as often as its share of ``draws`` [n] says, or once more.

    Systematic sampling: evenly spaced marks on the shares, laid end to end, each pick their sample. Samples of equal
    shares lie together, in this order, so that a class as a whole gets its share as well.
    """
    order = order[draws[order].argsort(stable=True)]
    ends = draws[order].double().cumsum(0)
    marks = (torch.arange(len(order), dtype=torch.float64) + 0.5) * (ends[-1] / len(order))
    return order[torch.searchsorted(ends, marks)]


def choose_view(epoch: int, views: int | None) -> int:
    """Return which of ``views`` versions of the training samples an epoch sees; None: one of its own."""
    return epoch if views is None else epoch % views


class Share(NamedTuple):
    """One of ``world`` processes that share the batches."""

    rank: int = 0
    world: int = 1


ALL = Share()
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Order:
    """Which samples of a split stand together in a batch, as a function of (seed, epoch) alone.

    An epoch of ``count`` samples is divided into ceil(count / batch_size) batches of nearly equal size: no sample is
    dropped, and no tiny last batch upsets BatchNorm. With ``lengths`` [n] a batch holds samples of similar length:
    shuffled ones are sorted within windows, then the batches are shuffled. With ``draws`` [n] as many samples are
    drawn in these proportions, some of them several times, others not at all.
    """

    count: int
    batch_size: int
    seed: int = 0
    lengths: Tensor | None = None
    draws: Tensor | None = None

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return math.ceil(self.count / self.batch_size)

    def sort(self) -> list[Tensor]:
        """Return the indices [B] of each batch to evaluate on: in order, or by length."""
        return list(sort_by_length(torch.arange(self.count), self.lengths).tensor_split(self.batches))

    def shuffle(self, epoch: int) -> list[Tensor]:
        """Return the indices [B] of each batch to train on in an epoch."""
        order = draw_permutation(self.count, self.seed, "order", epoch)
        if self.draws is not None:
            order = draw_samples(order, self.draws)[draw_permutation(self.count, self.seed, "drawn", epoch)]
        if self.lengths is None:
            return list(order.tensor_split(self.batches))
        windows = order.tensor_split(max(1, self.batches // WINDOW))
        batches = torch.cat([sort_by_length(window, self.lengths) for window in windows]).tensor_split(self.batches)
        return [batches[place] for place in draw_permutation(self.batches, self.seed, "batches", epoch).tolist()]


class EpochBatches(Sampler[tuple[int, Tensor, Tensor]]):
    """One rank's batches of an epoch as (view, indices, weight).

    The ``batch_size`` of an order counts the samples of all ranks together. Where they are shuffled, to train, each
    batch is shared out to the ranks, and ``weight`` makes the mean of their losses that of the whole batch, when its
    parts differ by a sample. Else, to evaluate, whole batches go round (some ranks get an empty one in the end), so
    that every sample is seen once, and in the very batch in which one rank alone would see it. The first ``skip``
    batches to train on are left out. ``views`` is how many versions of the samples there are, see ``choose_view``. The
    indices [B] and the weight [] of each batch are on ``device``, where all of an epoch's go at once.
    """

    def __init__(
        self,
        order: Order,
        shuffle: bool,
        share: Share = ALL,
        views: int | None = 1,
        skip: int = 0,
        device: torch.device = CPU,
    ) -> None:
        self.order, self.shuffle, self.share, self.views = order, shuffle, share, views
        self.skip, self.device = skip, device
        self.epoch = 0
        if shuffle and order.count // order.batches < share.world:
            raise UserError(
                f"data.batch_size: batches of {order.batch_size} from {order.count} samples leave some of "
                f"{share.world} processes without any; expected a larger one, as it counts the samples of all "
                "processes together."
            )

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; Lightning calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        batches = self.order.batches
        return batches - self.skip if self.shuffle else math.ceil(batches / self.share.world)

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        rank, world = self.share
        if self.shuffle:
            whole = self.order.shuffle(self.epoch)[self.skip :]
            batches = [batch[rank::world] for batch in whole]
            shares = [len(own) * world / len(batch) for own, batch in zip(batches, whole, strict=True)]
        else:
            batches = self.order.sort()[rank::world]
            batches += [torch.arange(0)] * (len(self) - len(batches))
            shares = [1.0] * len(batches)
        view = choose_view(self.epoch, self.views)
        moved = torch.cat([torch.arange(0), *batches]).to(self.device).split([len(batch) for batch in batches])
        for batch, weight in zip(moved, torch.tensor(shares).to(self.device), strict=True):
            yield view, batch, weight
