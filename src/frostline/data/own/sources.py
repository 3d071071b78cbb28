"""What a user gives as data: pairs of tensors, map-style datasets, or a LightningDataModule with such datasets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset, default_collate

from frostline.data.own.labels import find_task
from frostline.data.own.samples import Samples, make_plain_inputs
from frostline.data.splits import SPLITS
from frostline.errors import UserError
from frostline.files.atomic import sha256_json


class OwnData:
    """The samples of a user's splits, of which val and test may be missing; read once, however many runs use them.

    ``notes`` say what of the user's objects is not used; ``name`` is what reports call the data.
    """

    def __init__(self, splits: Mapping[str, Any], notes: Sequence[str] = (), name: str | None = None) -> None:
        """Take for each split a pair (inputs [N, ...], labels [N, ...]) or a map-style dataset of such pairs.

        The data are called by the class of the training samples where no ``name`` is given.
        """
        self.splits = {name: Samples(_as_split(splits[name], name), name) for name in SPLITS if name in splits}
        self.notes, self.name = list(notes), name or name_samples(self.splits["train"].found)

    def content(self, memory_gb: float) -> str:
        """Return the SHA-256 of all samples and labels."""
        looks = {name: samples.look(memory_gb * 2**30) for name, samples in self.splits.items()}
        return sha256_json({name: [look.digests, look.labels] for name, look in looks.items()})

    def task(self, memory_gb: float) -> str:
        """Return the name of the task that the training labels are for."""
        return find_task(self.splits["train"].look(memory_gb * 2**30).labels)

    def samples_kind(self, memory_gb: float) -> dict[str, Any]:
        """Return the ``shape`` and ``dtype`` of one sample, as a backbone is told them."""
        look = self.splits["train"].look(memory_gb * 2**30)
        return {"shape": list(look.shape), "dtype": str(look.dtype).removeprefix("torch.")}


def name_samples(found: Any) -> str:
    """Return what a pair of tensors, or a dataset, is called: ``tensors``, or its class."""
    while isinstance(found, Subset):
        found = found.dataset
    return "tensors" if isinstance(found, tuple) else type(found).__name__


def as_own_data(found: Any) -> OwnData:
    """Return a user's data: a mapping of splits or a train split alone, a LightningDataModule, or OwnData as it is.

    A split is a pair of tensors or arrays, or a map-style dataset of pairs. Raises UserError for anything else.
    """
    if isinstance(found, OwnData):
        return found
    if isinstance(found, pl.LightningDataModule):
        return _from_lightning(found)
    splits = dict(found) if isinstance(found, Mapping) else {"train": found}
    unknown = [name for name in splits if name not in SPLITS]
    if unknown or "train" not in splits:
        raise UserError(
            f"data: its splits are {', '.join(map(str, splits))}; expected train and, if wanted, val and test."
        )
    return OwnData(splits)


def _as_split(found: Any, name: str) -> Any:
    """Return a split as a pair of tensors or a map-style dataset. Raises UserError for anything else."""
    if isinstance(found, TensorDataset) and len(found.tensors) == 2:
        found = found.tensors
    if (
        isinstance(found, tuple | list)
        and len(found) == 2
        and all(isinstance(one, Tensor | np.ndarray) for one in found)
    ):
        inputs, labels = make_plain_inputs(found[0]), found[1].tolist()
        inputs = inputs.clone() if isinstance(found[0], np.ndarray) or inputs.is_inference() else inputs
        if inputs.ndim < 2:
            raise UserError(f"data: the inputs of {name} are {list(inputs.shape)}; expected [N, ...], a row a sample.")
        return inputs, labels
    if isinstance(found, IterableDataset):
        raise UserError(f"data: {name} is an IterableDataset, whose samples have no places; give a map-style dataset.")
    if not all(hasattr(type(found), method) for method in ("__len__", "__getitem__")) or isinstance(
        found, str | Mapping
    ):
        kind = type(found).__name__
        raise UserError(
            f"data: {name} is a {kind}; expected a pair of tensors (inputs, labels) or a map-style dataset."
        )
    return found


def _from_lightning(module: pl.LightningDataModule) -> OwnData:
    """Return the datasets behind a LightningDataModule's loaders; their order and batches are not used."""
    module.prepare_data()
    for stage in ("fit", "test"):
        module.setup(stage)
    splits = {}
    for name in SPLITS:
        if is_overridden(f"{name}_dataloader", module, pl.LightningDataModule):
            splits[name] = _find_dataset(
                getattr(module, f"{name}_dataloader")(), f"{type(module).__name__}.{name}_dataloader"
            )
    if "train" not in splits:
        raise UserError(f"data: {type(module).__name__} has no train_dataloader.")
    name = type(module).__name__
    return OwnData(splits, [f"the loaders of {name} give their datasets, not their batches"], name)


def _find_dataset(loader: Any, where: str) -> Any:
    if not isinstance(loader, DataLoader):
        raise UserError(f"data: {where} gives a {type(loader).__name__}; expected one torch DataLoader.")
    if loader.batch_size is not None and loader.collate_fn is not default_collate:
        raise UserError(f"data: {where} has a collate_fn of its own, which is not used; let the dataset do its work.")
    return loader.dataset
