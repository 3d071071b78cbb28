"""Labels that are no single class: how sets of tags and of numbers are divided, and how balanced draws go."""

from pathlib import Path

import pytest
import torch
from tests.configs import make

from frostline.data.inputs import Pixels
from frostline.data.order import EpochBatches, Order, Share, draw_permutation, draw_samples
from frostline.errors import UserError


def manifest(photos: Path, labels: list[str], split: bool = False) -> str:
    """Write a table of all photos, whose labels come again and again; val and test have the last of them."""
    files = [file.relative_to(photos) for file in sorted(photos.rglob("*.png"))]
    cells = [f"{name},{labels[place % len(labels)]}" for place, name in enumerate(files)]
    lines = [cell + f",{name.parts[0]}" for cell, name in zip(cells, files, strict=True)] if split else cells
    (photos / "table.csv").write_text("\n".join(["path,label" + ",split" * split, *lines]) + "\n")
    return str(photos / "table.csv")


def test_tags_stand_in_a_manifest(photos: Path, preprocess: Pixels) -> None:
    data = make(
        "data/csv",
        manifest=manifest(photos, ["sea;dog", "", "dog", "cat"], True),
        task=make("task/multilabel"),
        preprocess=preprocess,
    )
    train = data.splits["train"]
    assert data.classes == ["cat", "dog", "sea"] and train.labels.shape == (12, 3)
    table = [line.split(",") for line in (photos / "table.csv").read_text().splitlines()]
    said = {path: sorted(one for one in label.split(";") if one) for path, label, _ in table[1:]}
    for name, row in zip(train.names, train.labels.tolist(), strict=True):
        assert [one for one, there in zip(data.classes, row, strict=True) if there] == said[name]


def test_tags_and_numbers_are_divided_at_random(photos: Path, preprocess: Pixels) -> None:
    few = make(
        "data/csv",
        manifest=manifest(photos, ["a;b", "b", ""]),
        task=make("task/multilabel"),
        preprocess=preprocess,
        fraction=0.5,
    )
    assert [len(few.splits[name]) for name in ("train", "val", "test")] == [8, 6, 6]
    assert "drew val and test from train, at random, with data.split_seed=0" in few.notes
    numbers = make(
        "data/csv", manifest=manifest(photos, ["1.5", "-2", "30"]), task=make("task/regression"), preprocess=preprocess
    )
    assert numbers.classes == [] and set(numbers.splits["val"].labels.tolist()) <= {1.5, -2.0, 30.0}
    names = [name for split in numbers.splits.values() for name in split.names]
    assert len(names) == len(set(names)) == 28


def test_what_a_task_cannot_do_with_data_is_said(photos: Path, preprocess: Pixels) -> None:
    table = manifest(photos, ["a", "b", "3"])
    with pytest.raises(UserError, match="data.num_per_class: with task=multilabel samples are of no single class"):
        make("data/csv", manifest=table, task=make("task/multilabel"), preprocess=preprocess, num_per_class=2)
    with pytest.raises(UserError, match="2 labels are no finite numbers, such as 'a', 'b'"):
        make("data/csv", manifest=table, task=make("task/regression"), preprocess=preprocess)
    with pytest.raises(UserError, match="data.balanced: task=regression has no classes to balance"):
        make("data/digits", task=make("task/regression"), preprocess=preprocess, balanced=True, size=None)
    with pytest.raises(UserError, match="has no class in train"):
        make("data/csv", manifest=manifest(photos, [""]), task=make("task/multilabel"), preprocess=preprocess)
    with pytest.raises(UserError, match="28 rows cannot be used: table.csv:2 has no label"):
        make("data/csv", manifest=manifest(photos, [""]), preprocess=preprocess)


def test_the_folders_of_classes_can_be_numbers_too(photos: Path, preprocess: Pixels) -> None:
    for split in ("train", "val", "test"):
        (photos / split / "cat").rename(photos / split / "7")
        (photos / split / "dog").rename(photos / split / "9")
    data = make("data/imagefolder", root=str(photos), task=make("task/regression"), preprocess=preprocess)
    assert data.splits["train"].labels.tolist() == [7.0] * 6 + [9.0] * 6


def test_balanced_epochs_hold_every_class_alike_and_are_functions_of_seed_and_epoch() -> None:
    labels = torch.tensor([0] * 80 + [1] * 15 + [2] * 5)
    batches = EpochBatches(
        Order(100, 20, seed=3, draws=make("task/multiclass", label_smoothing=0.0).draws(labels)), shuffle=True
    )
    epochs = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        served = [indices for _, indices, _ in batches]
        assert [len(indices) for indices in served] == [20] * 5
        epochs.append(torch.cat(served))
    assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])
    for epoch in epochs:
        assert torch.bincount(labels[epoch]).tolist() == pytest.approx([33, 33, 33], abs=1.5)
        each = torch.bincount(epoch, minlength=100)
        for label in range(3):  # within a class as alike as whole numbers can be, and no one left out for another
            counts = each[labels == label]
            assert counts.max() - counts.min() <= 1
    assert len(set(epochs[0][labels[epochs[0]] == 0].tolist()) ^ set(epochs[1][labels[epochs[1]] == 0].tolist())) > 10


def test_alike_draws_are_every_sample_once() -> None:
    order = draw_permutation(50, "order")
    assert draw_samples(order, torch.full((50,), 0.3)).tolist() == order.tolist()


def test_ranks_share_out_a_balanced_epoch(preprocess: Pixels) -> None:
    draws = torch.rand(40, generator=torch.Generator().manual_seed(0))
    order = Order(40, 8, draws=draws)
    whole = [indices for _, indices, _ in EpochBatches(order, True)]
    parts = [[indices for _, indices, _ in EpochBatches(order, True, Share(rank, 2))] for rank in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(batch[0::2], first) and torch.equal(batch[1::2], second)


def test_a_data_set_is_told_to_balance(preprocess: Pixels) -> None:
    data = make("data/digits", preprocess=preprocess, num_per_class=4, batch_size=10, balanced=True, size=None)
    assert data.loading.draws is not None and data.loading.draws.tolist() == pytest.approx([0.25] * 40)
    assert make("data/digits", preprocess=preprocess, num_per_class=4, size=None).loading.draws is None
