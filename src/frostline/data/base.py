"""What every data set offers, whatever its modality: splits, batches in a fixed order, and Lightning's loaders."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from frostline.data.inputs import Inputs, Preprocess
from frostline.data.loading import Loader, Loading, Served, Split, Stored, yield_with_ends
from frostline.data.order import ALL, CPU, WINDOW, EpochBatches, Order, Share, choose_view, sort_by_length
from frostline.data.sending import send
from frostline.data.splits import SPLITS
from frostline.errors import UserError, make_choice_error
from frostline.files.atomic import sha256_json
from frostline.units import join_lines


def describe_unusable(problems: Sequence[str]) -> str:
    """Return what to say of samples that cannot be served."""
    return (
        f"data: {len(problems)} samples cannot be used: {join_lines(problems)}. Repair or remove them, or set "
        f"data.on_bad=skip."
    )


BatchAugment = Callable[[Any, Tensor, int], Inputs]
"""From training samples on the device where the network is, their indices [B] on the host, and a view, to that view
of them: of each sample a function of its index and the view."""


@dataclass(frozen=True)
class Facts:
    """What was found in a data set.

    ``class_counts`` holds the samples of each class, by split; ``notes`` what the user should be told; ``known`` what
    was measured in the training samples and is needed to prepare others.
    """

    classes: Sequence[str]
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    known: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preparation:
    """What is done to samples before the network sees them.

    ``transforms`` holds text that stands for all of it, by split; ``augment`` is what is left for ``augment_batch`` to
    do; ``typical`` is the size of a usual sample, by which costs are estimated (None: that of ``preprocess``).
    """

    preprocess: Preprocess
    transforms: Mapping[str, str]
    augment: BatchAugment | None = None
    typical: int | None = None


class Contents(NamedTuple):
    """All that a data set is made of."""

    splits: Mapping[str, Split]
    facts: Facts
    preparation: Preparation
    loading: Loading


class DataModule(pl.LightningDataModule):
    """A data set in its three splits, served in batches {"inputs", "label" [B], "index" [B], "weight" []}."""

    def __init__(self, splits: Mapping[str, Split], facts: Facts, preparation: Preparation, loading: Loading) -> None:
        super().__init__()
        assert set(splits) == set(SPLITS) == set(preparation.transforms)
        self.splits, self.preparation, self.loading = dict(splits), preparation, loading
        self.preprocess = preparation.preprocess
        self.typical = preparation.typical or self.preprocess.size
        self.classes, self.notes = list(facts.classes), list(facts.notes)
        self.class_counts, self.known = dict(facts.class_counts), dict(facts.known)
        self._sources: dict[str, Stored] = {}
        self._used: tuple[str, ...] = SPLITS
        self._skip = 0

    @property
    def modality(self) -> str:
        """What the samples are: ``image``, ``text`` or ``speech``."""
        return self.preprocess.modality

    @property
    def views(self) -> int | None:
        """How many augmented versions of a sample there are; None: a fresh one each epoch."""
        return self.loading.views

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the fingerprints of all splits."""
        return sha256_json({name: self.splits[name].fingerprint for name in SPLITS})

    @property
    def summary(self) -> str:
        """What was found, for a person who knows what should be there: the samples of each split and class."""
        sizes = "/".join(f"{len(self.splits[name]):,}" for name in SPLITS)
        counts = [self.class_counts.get(name, {}) for name in SPLITS]
        classes = [f"{label} {'/'.join(str(each[label]) for each in counts)}" for label in counts[0]]
        said = f"data: {sizes} samples (train/val/test)"
        return f"{said} of {len(classes)} classes: {join_lines(classes, 12)}" if classes else said

    def transform_id(self, split: str) -> str:
        """Return text that changes with anything which changes this split's samples, for a cache's key."""
        return self.preparation.transforms[split]

    def view(self, epoch: int) -> int:
        """Return the view of the training samples that is served in an epoch."""
        return choose_view(epoch, self.views)

    def use(self, sources: Mapping[str, Stored]) -> None:
        """Let the loaders serve these sources, by split, in place of the splits themselves; {} undoes it."""
        for name in sources:
            if name not in SPLITS:
                raise make_choice_error("split", name, SPLITS)
        self._sources = dict(sources)

    @property
    def used(self) -> tuple[str, ...]:
        """Return the splits that are made ready before training."""
        return self._used

    def prepare_only(self, splits: Sequence[str]) -> None:
        """Make no other splits ready before training than these: a trial never looks at its test split."""
        self._used = tuple(splits)

    def skip_batches(self, count: int) -> None:
        """Leave out the first ``count`` training batches of the next epochs: they were served before a run stopped."""
        self._skip = count

    def check(self, splits: Sequence[str] = SPLITS) -> None:
        """Make sure that these splits, as far as the loaders read them, can be served; UserError with all that fails.

        It decodes, once; splits replaced by ``use`` are left alone. Loaders and Lightning's ``setup`` call it.
        """
        problems = [line for name in splits if name not in self._sources for line in self.splits[name].check()]
        if problems:
            raise UserError(describe_unusable(problems))

    def setup(self, stage: str) -> None:
        """Check before training, not in the middle of it, the splits that are used: see ``prepare_only``."""
        self.check(("test",) if stage == "test" else self._used)

    def loader(self, split: str, shuffle: bool) -> DataLoader[dict[str, Any]]:
        """Return a loader of one split; it works in this process where batches cost nothing to make."""
        if split not in SPLITS:
            raise make_choice_error("split", split, SPLITS)
        self.check((split,))
        samples, pinned = self.splits[split], self._feeds_gpu()
        if split in self._sources:
            return self._stored_loader(self._sources[split], split, shuffle, pinned)
        workers = self.loading.workers if samples.costly else 0
        return Loader(
            Served(samples, samples.labels, self.preparation.augment is not None and split == "train"),
            self._batches(split, shuffle),
            workers,
            self.loading.timeout_s,
            persistent_workers=workers > 0 and split == "train",
            pin_memory=pinned,
        )

    def _stored_loader(self, source: Stored, split: str, shuffle: bool, pinned: bool) -> Loader:
        """Return a loader of what lies where it is used, or whose next batches a thread reads, and pins, meanwhile."""
        labels, device = self.splits[split].labels, source.device
        if device is not None and device.type == "cuda":
            return Loader(Served(source, labels.to(device)), self._batches(split, shuffle, device), 0, None)
        ahead = pinned or device is None
        return Loader(Served(source, labels), self._batches(split, shuffle), 0, None, ahead, pin_memory=pinned)

    def serve_in_order(
        self, split: str, view: int, batch_size: int, share: Share = ALL, pinned: bool = False
    ) -> Generator[tuple[Tensor, Inputs, bool]]:
        """Return (indices, inputs, whether a window ends) of a split under one view, whatever ``use`` says.

        What comes of them is for :meth:`augment_batch`, on the device where the network is.

        In order, but sorted by length within windows of ``WINDOW`` batches. The parts of those who share them are
        equal, and end where windows end, so that each batch is what it would be in the whole; the last ones may be
        empty. The next batches are made, and with ``pinned`` put into pinned memory, while one is used.
        """
        samples = self.splits[split]
        problems = samples.check()
        if problems:
            raise UserError(describe_unusable(problems))
        lengths = samples.lengths
        windows = torch.arange(len(samples)).split(batch_size * (1 if lengths is None else WINDOW))
        each = math.ceil(len(windows) / share.world)
        own: list[tuple[int, Tensor, Tensor]] = []
        ends: list[bool] = []
        for window in windows[share.rank * each : (share.rank + 1) * each]:
            batches = sort_by_length(window, lengths).split(batch_size)
            own += [(view, indices, torch.tensor(1.0)) for indices in batches]
            ends += [False] * (len(batches) - 1) + [True]
        workers = self.loading.workers if samples.costly else 0
        served, limit = Served(samples, samples.labels), self.loading.timeout_s
        loader = Loader(served, own, workers, limit, ahead=not workers, pin_memory=pinned)  # processes are ahead anyway
        return yield_with_ends(loader, ends)

    def augment_batch(self, split: str, inputs: Inputs, indices: Tensor, view: int) -> Inputs:
        """Return a view of samples whose inputs were moved to where the network is; ``indices`` [B] are on the host.

        Of each sample it is a function of (seed, index, view), and the same for batches that are cached.
        """
        augment = self.preparation.augment
        return inputs if augment is None or split != "train" or not len(indices) else augment(inputs, indices, view)

    def transfer_batch_to_device(self, batch: dict[str, Any], device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch and augment it there; a GPU is not waited for, which Lightning sees to with tensors alone.

        Labels in double precision stay behind where a device, Apple's, has no such numbers.
        """
        view, batch = batch.get("view"), {name: part for name, part in batch.items() if name != "view"}
        stays = {
            name for name in batch if name == "label" and device.type == "mps" and batch[name].dtype == torch.float64
        }
        moved = {name: part if name in stays else send(part, device) for name, part in batch.items()}
        if view is not None:
            moved["inputs"] = self.augment_batch("train", moved["inputs"], batch["index"], view)
        return moved

    def preview(self, split: str, index: int) -> bytes | None:
        """Return a sample for a person to look at, as a PNG; None where there is nothing to see."""
        return self.splits[split].preview(index)

    def _feeds_gpu(self) -> bool:
        """Return whether batches go to a GPU: a run on a processor needs no pinned memory, even beside one."""
        trainer: Any = self.trainer
        return trainer is not None and trainer.strategy.root_device.type == "cuda"

    def _batches(self, split: str, shuffle: bool, device: torch.device = CPU) -> EpochBatches:
        trainer: Any = self.trainer
        share = ALL if trainer is None else Share(trainer.global_rank, trainer.world_size)
        samples, loading = self.splits[split], self.loading
        draws = loading.draws if shuffle else None
        order = Order(len(samples), loading.batch_size, loading.seed, samples.lengths, draws)
        views, skip = (self.views, self._skip) if split == "train" else (1, 0)
        return EpochBatches(order, shuffle, share, views, skip, device)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.loader("val", shuffle=False)

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.loader("test", shuffle=False)
