"""What every data set offers, whatever its modality: splits, batches in a fixed order, and Lightning's loaders."""

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from frostline.data.image.augment import Batched, apply
from frostline.data.inputs import Inputs, Preprocess, send
from frostline.data.loading import Loader, Loading, Served, Source, Stored, yield_with_ends
from frostline.data.order import WINDOW, EpochBatches, by_length
from frostline.data.splits import SPLITS
from frostline.errors import UserError, choices, named
from frostline.files.atomic import sha256_json


class Split(Source, Protocol):
    """One split of a data set: ``labels`` [N, ...], a stable name for each sample, and a digest of all of it.

    ``lengths`` [N] are those of sequences, by which batches are made; None where all samples are alike.
    """

    labels: Tensor
    names: list[str]
    fingerprint: str
    lengths: Tensor | None

    def __len__(self) -> int: ...

    @property
    def costly(self) -> bool:
        """Whether a batch takes work that loader processes can share."""
        ...

    def check(self) -> list[str]:
        """Make sure, once, that every sample can be served; return one line for each that cannot."""
        ...

    def peek(self, indices: Tensor) -> Inputs:
        """Return the inputs [B, ...] of a few samples as they are, without augmentation and at their own cost alone."""
        ...

    def preview(self, index: int) -> bytes | None:
        """Return a sample for a person to look at, as a PNG; None where there is nothing to see."""
        ...


def unusable(problems: Sequence[str]) -> str:
    """Return what to say of samples that cannot be served."""
    return (
        f"data: {len(problems)} samples cannot be used: {named(problems)}. Repair or remove them, or set "
        f"data.on_bad=skip."
    )


class DataModule(pl.LightningDataModule):
    """A data set in its three splits, served in batches {"inputs", "label" [B], "index" [B], "weight" []}.

    ``notes`` holds what the user should be told; ``transforms`` the text that stands for what is done to the samples
    of each split; ``augment`` what is yet to be done to training samples, in batches where the network is; ``views`` is
    1 where nothing is augmented; ``used`` the splits that are made ready before training; ``typical`` the size of a
    usual sample, by which costs are reckoned; ``class_counts`` the samples of each class, by split; ``known`` what was
    measured in the training samples and is needed to prepare others.
    """

    def __init__(
        self,
        splits: Mapping[str, Split],
        classes: Sequence[str],
        preprocess: Preprocess,
        loading: Loading,
        transforms: Mapping[str, str],
        notes: Sequence[str] = (),
        typical: int | None = None,
        known: Mapping[str, Any] | None = None,
        class_counts: Mapping[str, Mapping[str, int]] | None = None,
        augment: Batched | None = None,
    ) -> None:
        super().__init__()
        assert set(splits) == set(SPLITS) == set(transforms)
        self.splits, self.classes, self.preprocess = dict(splits), list(classes), preprocess
        self.loading, self.notes = loading, list(notes)
        self.typical = typical or preprocess.size
        self.known = dict(known or {})
        self.class_counts = {name: dict(counts) for name, counts in (class_counts or {}).items()}
        self.augment = augment
        self._transforms = dict(transforms)
        self._sources: dict[str, Stored] = {}
        self.used: tuple[str, ...] = SPLITS
        self.skip = 0  # training batches of the next epoch that were served before the run was stopped

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
        return f"{said} of {len(classes)} classes: {named(classes, 12)}" if classes else said

    def prepare_only(self, splits: Sequence[str]) -> None:
        """Make only these splits ready before training."""
        self.used = tuple(splits)

    def transform_id(self, split: str) -> str:
        """Return text that changes with anything which changes this split's samples, for a cache's key."""
        return self._transforms[split]

    def view(self, epoch: int) -> int:
        """Return the view of the training samples that is served in an epoch."""
        return epoch if self.views is None else epoch % self.views

    def use(self, sources: Mapping[str, Stored]) -> None:
        """Let the loaders serve these sources, by split, in place of the splits themselves; {} undoes it."""
        for name in sources:
            if name not in SPLITS:
                raise choices("split", name, SPLITS)
        self._sources = dict(sources)

    def check(self, splits: Sequence[str] = SPLITS) -> None:
        """Make sure that these splits, as far as the loaders read them, can be served; UserError with all that fails.

        It decodes, once; splits replaced by ``use`` are left alone. Loaders and Lightning's ``setup`` call it.
        """
        problems = [line for name in splits if name not in self._sources for line in self.splits[name].check()]
        if problems:
            raise UserError(unusable(problems))

    def setup(self, stage: str) -> None:
        """Check before training, not in the middle of it: the test split as well, unless ``used`` leaves it out."""
        self.check(("test",) if stage == "test" else self.used)

    def loader(self, split: str, shuffle: bool) -> DataLoader[dict[str, Any]]:
        """Return a loader of one split; it works in this process where batches cost nothing to make."""
        if split not in SPLITS:
            raise choices("split", split, SPLITS)
        self.check((split,))
        samples, pinned = self.splits[split], self._feeds_gpu()
        if split in self._sources:
            return self._stored_loader(self._sources[split], samples.labels, self._batches(split, shuffle), pinned)
        workers = self.loading.workers if samples.costly else 0
        return Loader(
            Served(samples, samples.labels, self.augment is not None and split == "train"),
            self._batches(split, shuffle),
            workers,
            self.loading.timeout_s,
            persistent_workers=workers > 0 and split == "train",
            pin_memory=pinned,
        )

    def _stored_loader(self, source: Stored, labels: Tensor, batches: EpochBatches, pinned: bool) -> Loader:
        """Return a loader of what lies where it is used, or whose next batches a thread reads, and pins, meanwhile."""
        if source.device is not None and source.device.type == "cuda":
            batches.device = source.device
            return Loader(Served(source, labels.to(source.device)), batches, 0, None)
        ahead = pinned or source.device is None
        return Loader(Served(source, labels), batches, 0, None, ahead, pin_memory=pinned)

    def ordered(
        self, split: str, view: int, batch_size: int, part: int = 0, parts: int = 1, pinned: bool = False
    ) -> Generator[tuple[Tensor, Inputs, bool]]:
        """Return (indices, inputs, whether a window ends) of a split under one view, whatever ``use`` says.

        What comes of them is for :meth:`augment_batch`, on the device where the network is.

        In order, but sorted by length within windows of ``WINDOW`` batches. Of ``parts`` equal parts one: they end
        where windows end, so that each batch is what it would be in the whole; the last ones may be empty. The next
        batches are made, and with ``pinned`` put into pinned memory, while one is used.
        """
        samples = self.splits[split]
        problems = samples.check()
        if problems:
            raise UserError(unusable(problems))
        lengths = samples.lengths
        windows = torch.arange(len(samples)).split(batch_size * (1 if lengths is None else WINDOW))
        each = math.ceil(len(windows) / parts)
        own: list[tuple[int, Tensor, Tensor]] = []
        ends: list[bool] = []
        for window in windows[part * each : (part + 1) * each]:
            batches = by_length(window, lengths).split(batch_size)
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
        if self.augment is None or split != "train" or not len(indices):
            return inputs
        assert isinstance(inputs, Tensor)
        return apply(self.augment, inputs, indices, self.loading.seed, view)

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

    def _batches(self, split: str, shuffle: bool) -> EpochBatches:
        trainer: Any = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        size, samples = self.loading.batch_size, self.splits[split]
        view, skip = (self.view, self.skip) if split == "train" else (lambda epoch: 0, 0)
        seed, lengths = self.loading.seed, samples.lengths
        draws = self.loading.draws if shuffle else None
        return EpochBatches(len(samples), size, seed, shuffle, rank, world, view, skip, lengths, draws)

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.loader("val", shuffle=False)

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self.loader("test", shuffle=False)
