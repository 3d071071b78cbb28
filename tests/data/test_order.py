"""Batches of sequences: alike in length, each sample once, a function of seed and epoch."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from frostline.data.order import EpochBatches, Order, Share


def lengths_of(n: int) -> torch.Tensor:
    return torch.randint(1, 200, (n,), generator=torch.Generator().manual_seed(n))


@given(n=st.integers(8, 300), size=st.integers(4, 40), epoch=st.integers(0, 5), world=st.integers(1, 3))
def test_each_sample_is_seen_once_by_one_rank(n: int, size: int, epoch: int, world: int) -> None:
    for shuffle in (True, False):
        seen: list[int] = []
        for rank in range(world):
            batches = EpochBatches(Order(n, size, lengths=lengths_of(n)), shuffle, Share(rank, world))
            batches.set_epoch(epoch)
            seen += [index for _, own, _ in batches for index in own.tolist()]
        assert sorted(seen) == list(range(n))


def test_a_batch_holds_little_padding_and_batches_are_shuffled() -> None:
    lengths = lengths_of(2000)
    plain = EpochBatches(Order(2000, 20), True)
    sorted_ = EpochBatches(Order(2000, 20, lengths=lengths), True)

    def padding(batches: EpochBatches) -> float:
        padded = sum(len(own) * int(lengths[own].max()) for _, own, _ in batches)
        return padded / int(lengths.sum())

    assert padding(plain) > 1.8 and padding(sorted_) < 1.35
    longest = [int(lengths[own].max()) for _, own, _ in sorted_]
    rises = sum(one < two for one, two in zip(longest, longest[1:], strict=False))
    assert 30 < rises < 70, "short and long batches come in no order"


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int, skip: int = 0) -> list[list[int]]:
        batches = EpochBatches(Order(60, 8, seed, lengths_of(60)), True, skip=skip)
        batches.set_epoch(epoch)
        return [own.tolist() for _, own, _ in batches]

    assert order(0, 1) == order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)
    assert order(0, 1, skip=3) == order(0, 1)[3:]
