"""What every data set offers, whatever its modality: splits, batches in a fixed order, and Lightning's loaders."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from frostline.errors import UserError, choices
from frostline.files import sha256_json

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Pixels:
    """How a backbone wants its images: the evaluation preprocessing that came with its weights.

    ``size`` is in pixels a side; ``crop`` is timm's crop_pct, so the short side is resized to ``size / crop``
    before the centre is cut out; ``mean`` and ``std`` are for the backbone, which normalises by itself.
    """

    size: int
    crop: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


class Source(Protocol):
    """Anything that serves model inputs by sample index: a split's images, or features cached for them."""

    def inputs(self, indices: Tensor, view: int) -> Tensor:
        """Return the inputs [B, ...] of these samples [B] under this view (0 for val and test)."""
        ...


class Split(Source, Protocol):
    """One split of a data set: ``labels`` [N] int64, a stable name for each sample, and a digest of all of it."""

    labels: Tensor
    names: list[str]
    fingerprint: str

    def __len__(self) -> int: ...

    @property
    def costly(self) -> bool:
        """Whether a batch takes work that loader processes can share."""
        ...

    def check(self) -> list[str]:
        """Make sure, once, that every sample can be served; return one line for each that cannot."""
        ...

    def peek(self, indices: Tensor) -> Tensor:
        """Return the inputs [B, ...] of a few samples as they are, without augmentation and at their own cost alone."""
        ...

    def preview(self, index: int) -> bytes | None:
        """Return a sample for a person to look at, as a PNG; None where there is nothing to see."""
        ...


def stable_seed(*parts: object) -> int:
    """Return a 63-bit number that depends on the text of ``parts`` alone, in any process and version of Python."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def permutation(n: int, *parts: object) -> Tensor:
    """Return a random order [n] that is a function of ``parts`` alone."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(stable_seed(*parts)))


def named(lines: Sequence[str], most: int = 10) -> str:
    """Return ``lines`` as one text that stays readable when there are thousands."""
    more = f"; and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + more


def unusable(problems: Sequence[str]) -> str:
    """Return what to say of samples that cannot be served."""
    return (
        f"data: {len(problems)} samples cannot be used: {named(problems)}. Repair or remove them, or set "
        f"data.on_bad=skip."
    )


class EpochBatches(Sampler[tuple[int, Tensor, float]]):
    """Batches of an epoch as (view, indices, weight): their order is a function of (seed, epoch) alone.

    An epoch is divided into ceil(n / batch_size) batches of nearly equal size: no sample is dropped, and no tiny last
    batch upsets BatchNorm. ``batch_size`` counts the samples of all ranks together. Where they are shuffled, to train,
    each batch is shared out to the ranks, and ``weight`` makes the mean of their losses that of the whole batch, when
    its parts differ by a sample. Else, to evaluate, whole batches go round (some ranks get an empty one in the end),
    so that every sample is seen once, and in the very batch in which one rank alone would see it. The first ``skip``
    batches to train on are left out.
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
    ) -> None:
        self.skip = skip
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

    def __iter__(self) -> Iterator[tuple[int, Tensor, float]]:
        view = self.view(self.epoch)
        if self.shuffle:
            for batch in permutation(self.n, self.seed, "order", self.epoch).tensor_split(self.batches)[self.skip :]:
                own = batch[self.rank :: self.world]
                yield view, own, len(own) * self.world / len(batch)
        else:
            own_batches = torch.arange(self.n).tensor_split(self.batches)[self.rank :: self.world]
            for batch in (*own_batches, *[torch.arange(0)] * (len(self) - len(own_batches))):
                yield view, batch, 1.0


class Served(Dataset[dict[str, Tensor]]):
    """A source with its labels, indexed by what EpochBatches yields: a whole batch at a time."""

    def __init__(self, source: Source, labels: Tensor) -> None:
        self.source, self.labels = source, labels

    def __getitem__(self, index: tuple[int, Tensor, float]) -> dict[str, Tensor]:
        view, indices, weight = index
        label = self.labels[indices]
        inputs = self.source.inputs(indices, view) if len(indices) else torch.zeros(0)
        return {"inputs": inputs, "label": label, "index": indices, "weight": torch.tensor(weight)}


@dataclass(frozen=True)
class Loading:
    """How samples are put into batches; none of it changes a sample."""

    batch_size: int
    workers: int
    views: int | None
    seed: int


class DataModule(pl.LightningDataModule):
    """A data set in its three splits, served in batches {"inputs", "label" [B], "index" [B], "weight" []}.

    ``notes`` holds what the user should be told; ``transforms`` the text that stands for what is done to the samples
    of each split; ``views`` is 1 where nothing is augmented; ``used`` the splits that are made ready before training.
    """

    def __init__(
        self,
        splits: Mapping[str, Split],
        classes: Sequence[str],
        preprocess: Pixels,
        loading: Loading,
        transforms: Mapping[str, str],
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        assert set(splits) == set(SPLITS) == set(transforms)
        self.splits, self.classes, self.preprocess = dict(splits), list(classes), preprocess
        self.loading, self.notes = loading, list(notes)
        self._transforms = dict(transforms)
        self._sources: dict[str, Source] = {}
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

    def transform_id(self, split: str) -> str:
        """Return text that changes with anything which changes this split's samples, for a cache's key."""
        return self._transforms[split]

    def view(self, epoch: int) -> int:
        """Return the view of the training samples that is served in an epoch."""
        return epoch if self.views is None else epoch % self.views

    def use(self, sources: Mapping[str, Source]) -> None:
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

    def loader(self, split: str, shuffle: bool) -> DataLoader[dict[str, Tensor]]:
        """Return a loader of one split; it works in this process where batches cost nothing to make."""
        if split not in SPLITS:
            raise choices("split", split, SPLITS)
        self.check((split,))
        samples = self.splits[split]
        workers = self.loading.workers if split not in self._sources and samples.costly else 0
        return DataLoader(
            Served(self._sources.get(split, samples), samples.labels),
            sampler=self._batches(split, shuffle),
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0 and split == "train",
            pin_memory=torch.cuda.is_available(),
        )

    def ordered(self, split: str, view: int, batch_size: int, part: int = 0, parts: int = 1) -> Iterator[Tensor]:
        """Yield the inputs of a split under one view, in order, whatever ``use`` says; of ``parts`` equal parts one.

        Parts end where batches end, so that each batch is what it would be in the whole; the last ones may be empty.
        """
        samples = self.splits[split]
        problems = samples.check()
        if problems:
            raise UserError(unusable(problems))
        batches = torch.arange(len(samples)).split(batch_size)
        each = math.ceil(len(batches) / parts)
        own = [(view, indices, 1.0) for indices in batches[part * each : (part + 1) * each]]
        workers = self.loading.workers if samples.costly else 0
        served = DataLoader(Served(samples, samples.labels), sampler=own, batch_size=None, num_workers=workers)
        for batch in served:
            yield batch["inputs"]

    def preview(self, split: str, index: int) -> bytes | None:
        """Return a sample for a person to look at, as a PNG; None where there is nothing to see."""
        return self.splits[split].preview(index)

    def _batches(self, split: str, shuffle: bool) -> EpochBatches:
        trainer: Any = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        size, n = self.loading.batch_size, len(self.splits[split])
        if split == "train":
            return EpochBatches(n, size, self.loading.seed, shuffle, rank, world, self.view, self.skip)
        return EpochBatches(n, size, self.loading.seed, shuffle, rank, world)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.loader("val", shuffle=False)

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.loader("test", shuffle=False)
