"""Tensors, datasets and LightningDataModules of a user's own as data sets: splits, labels, tasks, and mistakes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import configs
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from frostline.data.base import DataModule, Split
from frostline.data.inputs import Pixels
from frostline.data.own.given import AsGiven
from frostline.data.own.sources import as_own_data
from frostline.errors import UserError
from frostline.tasks.base import Task

ROW = AsGiven((6,))


def pair(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=numbers), torch.arange(count) % 3


def make(found: Any, **options: Any) -> DataModule:
    return configs.make("data/own", found=found, **{"batch_size": 32, "preprocess": ROW, **options})


def dense(split: Split, indices: Tensor, view: int) -> Tensor:
    inputs = split.inputs(indices, view)
    assert isinstance(inputs, Tensor)
    return inputs


class Pairs(Dataset):
    """Samples one by one, as most datasets give them: NumPy arrays in double precision, numbers as labels."""

    def __init__(self, count: int = 30, seed: int = 0) -> None:
        self.inputs, self.labels = pair(count, seed)
        self.reads = 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.reads += 1
        return self.inputs[index].double().numpy(), int(self.labels[index])


class Noisy(Pairs):
    """Samples that are augmented each time, by the generators that transforms draw from."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        inputs, label = super().__getitem__(index)
        return torch.as_tensor(inputs) + torch.randn(6) + np.random.rand(), label  # noqa: NPY002


class Stubborn(Pairs):
    """Samples that are augmented by a generator of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = torch.Generator()

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        inputs, label = super().__getitem__(index)
        return torch.as_tensor(inputs) + torch.randn(6, generator=self.numbers), label


class Holed(Pairs):
    """Some samples cannot be read, some have another shape, one is no pair."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        inputs, label = super().__getitem__(index)
        if index == 4:
            raise OSError("gone")
        return (inputs[:5], label) if index == 7 else inputs if index == 9 else (inputs, label)


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return iter([])


class Prepared(pl.LightningDataModule):
    """A LightningDataModule without a test split."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def setup(self, stage: str) -> None:
        self.train = Pairs(30)

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, batch_size=4, shuffle=True, **self.options)

    def val_dataloader(self) -> Any:
        return DataLoader(Pairs(9, seed=1), batch_size=4)


def test_tensors_are_used_as_they_are() -> None:
    splits = {"train": pair(30), "val": pair(9, 1), "test": pair(12, 2)}
    data = make(splits)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [30, 9, 12]
    assert data.classes == ["0", "1", "2"] and data.notes == [] and data.views == 1
    for name, (inputs, labels) in splits.items():
        split = data.splits[name]
        assert torch.equal(dense(split, torch.tensor([3, 1]), 0), inputs[[3, 1]])
        assert torch.equal(split.labels, labels) and split.names[1] == f"{name}/1"
        assert not split.costly and split.check() == []
    (batch, *_) = data.loader("train", shuffle=True)
    assert torch.equal(batch["inputs"], splits["train"][0][batch["index"]])


def test_a_dataset_is_read_once_and_is_what_its_tensors_are() -> None:
    dataset = Pairs()
    own = as_own_data(dataset)
    data = make(own)
    before = dataset.reads
    assert data.fingerprint == make(own).fingerprint == make(pair(30)).fingerprint
    assert make(TensorDataset(*pair(30))).fingerprint == data.fingerprint != make(pair(30, 1)).fingerprint
    assert dataset.reads == before and own.content(1.0) == as_own_data(pair(30)).content(1.0)
    assert data.notes == ["drew val and test from train, by class, with data.split_seed=0"]
    parts = [set(data.splits[name].names) for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == 30 == len(set().union(*parts))
    large = make(Pairs(), memory_gb=0)
    assert large.splits["train"].costly and large.fingerprint == data.fingerprint
    indices = torch.tensor([5, 0, 2])
    assert torch.equal(dense(large.splits["train"], indices, 0), dense(data.splits["train"], indices, 0))


def test_tensors_that_were_written_to_are_read_again() -> None:
    inputs, labels = pair(30)
    own = as_own_data((inputs, labels))
    before = own.content(1.0)
    inputs[0] += 1
    assert own.content(1.0) != before


def test_an_augmented_sample_is_a_function_of_seed_index_and_view() -> None:
    data, again, other = make({"train": Noisy(), "val": Noisy(9)}), make({"train": Noisy(), "val": Noisy(9)}), Noisy()
    other = make({"train": Noisy(), "val": Noisy(9)}, seed=1)
    indices = torch.tensor([4, 2])
    views = [dense(data.splits["train"], indices, view) for view in range(3)]
    assert data.views == 4 and not torch.equal(views[0], views[1])
    state = torch.get_rng_state()
    assert torch.equal(dense(again.splits["train"], indices.flip(0), 2).flip(0), views[2])
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(dense(other.splits["train"], indices, 2), views[2])
    assert data.transform_id("train") != other.transform_id("train") and data.fingerprint == again.fingerprint
    for view in (0, 1):  # which others than training samples do not have
        assert torch.equal(dense(data.splits["val"], indices, view), dense(other.splits["val"], indices, 0))
    with pytest.raises(UserError, match="sample 0 of train is another one each time"):
        make(Stubborn())


def test_samples_that_cannot_be_used_are_named_or_left_out() -> None:
    with pytest.raises(UserError) as error:
        make(Holed())
    said = str(error.value)
    assert "3 samples cannot be used: train/4 cannot be read (OSError: gone); train/7 is float32 [5], unlike" in said
    assert "train/9 is no pair of inputs and label but a ndarray" in said
    data = make(Holed(), on_bad="skip")
    assert sum(len(data.splits[name]) for name in ("train", "val", "test")) == 27
    assert "left out 3 samples" in data.notes[0]


def test_a_lightning_data_module_gives_its_datasets() -> None:
    data = make(Prepared())
    assert len(data.splits["val"]) == 9 and len(data.splits["train"]) + len(data.splits["test"]) == 30
    assert data.notes[0] == "the loaders of Prepared give their datasets, not their batches"
    with pytest.raises(UserError, match=r"Prepared\.train_dataloader has a collate_fn of its own"):
        make(Prepared(collate_fn=list))
    assert configs.make("data/own", found=data) is data


@given(st.integers(1, 5), st.integers(0, 100))
def test_a_subset_and_its_seed_choose_among_the_samples(per_class: int, seed: int) -> None:
    data = make(pair(60), num_per_class=per_class, seed=seed)
    train = data.splits["train"]
    assert train.labels.bincount().tolist() == [per_class] * 3
    places = [int(name.partition("/")[2]) for name in train.names]
    assert torch.equal(dense(train, torch.arange(len(train)), 0), pair(60)[0][places])


TASKS: list[tuple[Any, Task, list[str], Any]] = [
    (torch.tensor([2, 0, 2, 0] * 4), configs.make("task/multiclass", label_smoothing=0.0), ["0", "2"], [1, 0]),
    (np.array(["b", "a"] * 8), configs.make("task/multiclass", label_smoothing=0.0), ["a", "b"], [1, 0]),
    (torch.tensor([True, False] * 8), configs.make("task/multiclass", label_smoothing=0.0), ["0", "1"], [1, 0]),
    (
        torch.tensor([[1, 0, 1], [0, 1, 0]] * 8),
        configs.make("task/multilabel"),
        ["0", "1", "2"],
        [[1, 0, 1], [0, 1, 0]],
    ),
    (torch.tensor([0.5, -3.25] * 8), configs.make("task/regression"), [], [0.5, -3.25]),
    (torch.tensor([[0.1], [3.0]] * 8), configs.make("task/regression"), [], [float(torch.tensor(0.1)), 3.0]),
    (torch.tensor([4, 5] * 8), configs.make("task/regression"), [], [4.0, 5.0]),
]


@pytest.mark.parametrize(("labels", "task", "classes", "encoded"), TASKS)
def test_labels_say_their_task(labels: Any, task: Task, classes: list[str], encoded: Any) -> None:
    splits = {name: (torch.randn(len(labels), 6), labels) for name in ("train", "val", "test")}
    data = make(splits, task=task)
    assert data.classes == classes and data.splits["val"].labels[:2].tolist() == encoded
    whole_numbers = task.name == "regression" and labels.dtype == torch.int64
    assert as_own_data(splits).task(1.0) == ("multiclass" if whole_numbers else task.name)


def test_classes_can_be_named() -> None:
    data = make(pair(30), classes=["ant", "bee", "cow"])
    assert data.classes == ["ant", "bee", "cow"] and sum(data.class_counts["train"].values()) == 18
    with pytest.raises(UserError, match=r"data\.classes: there is a label 2 and 2 names"):
        make(pair(30), classes=["ant", "bee"])


def test_a_network_of_frostlines_own_takes_bytes() -> None:
    pixels = Pixels(224, 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    images = torch.randint(256, (30, 3, 8, 8), dtype=torch.uint8)
    data = make((images, pair(30)[1]), preprocess=pixels, size=8)
    assert data.preprocess.size == 8 and data.preview("train", 0)[:4] == b"\x89PNG"  # type: ignore[index]
    with pytest.raises(
        UserError, match=r"samples of train are float32 \[3, 8, 8\], and the network takes uint8 \[3, 8"
    ):
        make((images.float(), pair(30)[1]), preprocess=pixels, size=8)


@pytest.mark.parametrize(
    ("found", "options", "said"),
    [
        (None, {"name": "Mine"}, "Mine were given to a run from Python"),
        (Stream(), {}, "train is an IterableDataset, whose samples have no places"),
        ("path", {}, "train is a str; expected a pair of tensors"),
        ({"train": pair(9), "dev": pair(9)}, {}, "its splits are train, dev; expected train"),
        ((pair(9)[0], pair(8)[1]), {}, "train has 9 inputs and 8 labels"),
        (
            pair(30),
            {"preprocess": AsGiven((7,))},
            "samples of train are float32 [6], and the network takes float32 [7]",
        ),
        (pair(30), {"task": configs.make("task/multilabel")}, "expected rows of 0 and 1 for task=multilabel"),
        ((pair(30)[0], torch.rand(30)), {}, "of task=regression; task=multiclass is set"),
        ((pair(30)[0], torch.rand(30, 2)), {}, "the labels are of no one kind"),
        (pair(30), {"augment": 1}, "augment: data of your own are used as they are"),
        (pair(30), {"nothing": 1}, "data.nothing: there is no such key"),
        ([({"a": 1}, 0)] * 9, {}, "no sample of train can be used; the first one has a dict for inputs"),
        ([(torch.zeros(6), {"a": 1})] * 9, {}, "has a dict for a label"),
    ],
)
def test_mistakes_are_one_sentence(found: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        make(found, **options)
    assert said in str(error.value) and str(error.value).endswith(".")
