"""Batches of any kind: what is done to sequences in a batch is what is done to each of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from frostline.data.inputs import (
    Inputs,
    Ragged,
    count,
    equals,
    find_item_shape,
    list_tensors,
    map_tensors,
    map_values,
    pad_sequences,
    split_batch,
    split_items,
    take_real,
    take_values,
)

LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=6)


def sequences(lengths: list[int]) -> list[Tensor]:
    """Return sequences [T_i, 3] of other numbers each."""
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    return [torch.arange(3.0 * n).view(n, 3) + 100 * start + 1 for n, start in zip(lengths, starts, strict=True)]


@given(LENGTHS)
def test_a_batch_of_sequences_holds_each_as_it_is(lengths: list[int]) -> None:
    each = sequences(lengths)
    batch = pad_sequences(each)
    assert batch.values.shape == (len(each), max(lengths), 3) and batch.lengths.tolist() == lengths
    assert all(map(torch.equal, split_items(batch), each)) and torch.equal(batch.real, torch.cat(each))
    assert not batch.values[~batch.mask].any()
    assert count(batch) == len(each) and find_item_shape(batch) == (3,)
    for mean, sequence in zip(batch.mean(), each, strict=True):
        assert torch.allclose(mean, sequence.mean(dim=0))


@given(LENGTHS, st.integers(0, 12))
def test_more_padding_changes_nothing_that_is_real(lengths: list[int], size: int) -> None:
    batch = pad_sequences(sequences(lengths))
    longer = batch.pad(size)
    assert longer.values.shape[1] == max(size, max(lengths)) and equals(longer, batch)
    assert torch.equal(longer.mean(), batch.mean())


@given(LENGTHS, st.data())
def test_samples_are_taken_by_their_places(lengths: list[int], data: st.DataObject) -> None:
    each = sequences(lengths)
    places = data.draw(st.lists(st.integers(0, len(each) - 1), min_size=1))
    assert equals(pad_sequences(each).take(torch.tensor(places)), pad_sequences([each[place] for place in places]))


@pytest.mark.parametrize("batch", [torch.rand(5, 3, 2), pad_sequences(sequences([3, 1, 2, 5, 4]))])
def test_what_is_asked_of_any_batch(batch: Inputs) -> None:
    assert count(batch) == 5 and [count(part) for part in split_batch(batch, 2)] == [2, 2, 1]
    doubled = map_values(lambda values: values * 2, batch)
    assert torch.equal(take_values(doubled), take_values(batch) * 2) and torch.equal(
        take_real(doubled), take_real(batch) * 2
    )
    assert list_tensors(doubled)[1:] == list_tensors(batch)[1:], "lengths are left alone"
    moved = map_tensors(torch.clone, batch)
    assert equals(moved, batch) and not equals(doubled, batch) and type(moved) is type(batch)


def test_batches_differ_by_their_lengths_and_kinds_too() -> None:
    one = Ragged(torch.ones(2, 3, 1), torch.tensor([2, 3]))
    assert not equals(one, Ragged(torch.ones(2, 3, 1), torch.tensor([3, 2])))
    assert not equals(one, one.values) and not equals(one.values, one)
