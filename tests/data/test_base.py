"""Batches, their order, and what the loaders serve."""

import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning.strategies import SingleDeviceStrategy
from tests.configs import make
from tests.waits import GPU, on_gpu
from torch import Tensor

from frostline.data.image.augment import Light
from frostline.data.inputs import Pixels, Ragged
from frostline.data.order import EpochBatches, Order, Share
from frostline.errors import UserError


@given(
    n=st.integers(1, 200),
    size=st.integers(1, 70),
    world=st.integers(1, 3),
    epoch=st.integers(0, 5),
    shuffle=st.booleans(),
)
def test_an_epoch_is_all_samples_once_in_batches_of_nearly_equal_size(
    n: int, size: int, world: int, epoch: int, shuffle: bool
) -> None:
    if shuffle and n // math.ceil(n / size) < world:
        with pytest.raises(UserError, match="data.batch_size"):
            EpochBatches(Order(n, size), shuffle, Share(0, world))
        return
    ranks = [EpochBatches(Order(n, size), shuffle, Share(rank, world)) for rank in range(world)]
    for rank in ranks:
        rank.set_epoch(epoch)
    shares = [[indices for _, indices, _ in rank] for rank in ranks]
    assert {len(share) for share in shares} == {len(ranks[0])}  # or the ranks would wait for each other
    batches = [torch.cat(parts) for parts in zip(*shares, strict=True)]
    assert sorted(torch.cat(batches).tolist()) == list(range(n))
    if not shuffle:
        alone = {tuple(indices.tolist()) for _, indices, _ in EpochBatches(Order(n, size), False)}
        assert {tuple(indices.tolist()) for share in shares for indices in share if len(indices)} == alone
        return
    assert len(batches) == math.ceil(n / size)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= size and max(sizes) - min(sizes) <= 1
    assert all(len(indices) > 0 for share in shares for indices in share)


@given(n=st.integers(3, 100), size=st.integers(3, 70), world=st.integers(1, 3))
def test_the_mean_over_ranks_of_their_weighted_means_is_the_mean_of_the_batch(n: int, size: int, world: int) -> None:
    if n // math.ceil(n / size) < world:
        return
    ranks = [EpochBatches(Order(n, size), True, Share(rank, world)) for rank in range(world)]
    for parts in zip(*ranks, strict=True):
        whole = torch.cat([indices for _, indices, _ in parts]).double().mean()
        weighted = sum(weight * indices.double().mean() for _, indices, weight in parts) / world
        assert float(weighted) == pytest.approx(float(whole))


def order(batches: EpochBatches, epoch: int) -> list[int]:
    batches.set_epoch(epoch)
    return torch.cat([indices for _, indices, _ in batches]).tolist()


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    first, second, other = (EpochBatches(Order(50, 8, seed), True) for seed in (3, 3, 4))
    in_turn = [order(first, epoch) for epoch in range(4)]
    torch.manual_seed(99)
    assert order(second, 3) == in_turn[3]
    assert order(other, 3) != in_turn[3] != in_turn[2]
    assert order(EpochBatches(Order(50, 8, 3), False), 7) == list(range(50))


def test_views_follow_the_epoch(preprocess: Pixels) -> None:
    def views(count: int | None, augment: Light | None) -> list[int]:
        data = make("data/digits", preprocess=preprocess, views=count, augment=augment, size=None)
        batches = data.train_dataloader().sampler
        assert isinstance(batches, EpochBatches)
        seen = []
        for epoch in range(5):
            batches.set_epoch(epoch)
            seen.append(next(iter(batches))[0])
        return seen

    assert views(2, make("augment/light")) == [0, 1, 0, 1, 0]
    assert views(None, make("augment/light")) == [0, 1, 2, 3, 4]
    assert views(3, None) == views(None, None) == [0] * 5


def test_a_batch_holds_inputs_labels_and_indices(photos: Path, preprocess: Pixels) -> None:
    data = make("data/imagefolder", root=str(photos), preprocess=preprocess, batch_size=5)
    batches = list(data.train_dataloader())
    assert [len(batch["index"]) for batch in batches] == [4, 4, 4]
    for batch in batches:
        assert batch["inputs"].shape == (4, 3, 32, 32) and batch["inputs"].dtype == torch.uint8
        assert torch.equal(batch["label"], data.splits["train"].labels[batch["index"]])
    assert torch.cat([batch["index"] for batch in data.val_dataloader()]).tolist() == list(range(8))
    assert torch.cat([batch["index"] for batch in data.test_dataloader()]).tolist() == list(range(8))


class Numbers:
    """Features that stand in for the images: each sample's index and the view."""

    device = torch.device("cpu")

    def inputs(self, indices: Tensor, view: int) -> Tensor:
        return torch.stack([indices, torch.full_like(indices, view)], 1).float()


def test_loaders_serve_what_use_names_and_decode_nothing(
    photos: Path, preprocess: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(self: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    data = make(
        "data/imagefolder", root=str(photos), preprocess=preprocess, views=2, augment=make("augment/light"), workers=2
    )
    data.use({name: Numbers() for name in ("train", "val", "test")})
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            assert batch["inputs"][:, 0].tolist() == batch["index"].tolist()
    with pytest.raises(UserError, match="validation"):
        data.use({"validation": Numbers()})
    monkeypatch.undo()
    data.use({})
    assert next(iter(data.train_dataloader()))["inputs"].shape[1:] == (3, 32, 32)


def test_an_unknown_split_is_named(preprocess: Pixels) -> None:
    with pytest.raises(UserError, match="dev.*train, val, test"):
        make("data/digits", preprocess=preprocess, size=None).loader("dev", shuffle=False)


def test_labels_in_double_precision_stay_where_a_device_has_no_such_numbers(preprocess: Pixels) -> None:
    data = make("data/digits", preprocess=preprocess, num_per_class=1, size=None)
    batch = {"label": torch.tensor([1.7e9, 1.7e9 + 1], dtype=torch.float64)}
    assert data.transfer_batch_to_device(batch, torch.device("mps"), 0)["label"] is batch["label"]
    with on_gpu():
        assert data.transfer_batch_to_device(batch, GPU, 0)["label"].device == GPU


def test_no_step_waits_for_its_batch_to_come_to_a_gpu(preprocess: Pixels) -> None:
    data = make("data/digits", preprocess=preprocess, num_per_class=1, size=None)
    with on_gpu() as waits:
        sequences = Ragged(torch.zeros(2, 3), torch.tensor([3, 2]))
        batch = {"inputs": sequences, "label": torch.zeros(2), "weight": torch.tensor(1.0)}
        moved = data.transfer_batch_to_device(batch, GPU, 0)
        assert moved["inputs"].values.device == moved["inputs"].lengths.device == moved["weight"].device == GPU
        assert waits.found == []


@pytest.mark.parametrize(("accelerator", "pinned"), [("cpu", False), ("cuda", True)])
def test_memory_is_pinned_for_a_run_on_a_gpu_alone(
    accelerator: str, pinned: bool, preprocess: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with a GPU the Trainer's strategy says whether a run's batches go there."""
    strategy = SingleDeviceStrategy(torch.device(accelerator))
    trainer = pl.Trainer(accelerator="cpu", strategy=strategy, logger=False, enable_checkpointing=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = make("data/digits", preprocess=preprocess, num_per_class=1, size=None)
    assert not data.train_dataloader().pin_memory, "nobody has said where they go"
    data.trainer = trainer
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    assert [loader.pin_memory for loader in loaders] == [pinned] * 3
