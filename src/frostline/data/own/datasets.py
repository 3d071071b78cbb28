"""Data of the user's own made ready for a network: splits drawn, labels encoded, samples used as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frostline.data.base import DataModule, Facts, Preparation, Split
from frostline.data.divide import count_duplicates, divide
from frostline.data.image.pixels import encode_png
from frostline.data.inputs import Pixels, Preprocess
from frostline.data.listing import Found, Listing, leave_out
from frostline.data.loading import Loading, Oddity
from frostline.data.options import Options
from frostline.data.own.given import AsGiven
from frostline.data.own.labels import format_labels
from frostline.data.own.samples import Samples, SamplesLook
from frostline.data.own.sources import as_own_data
from frostline.data.splits import SPLITS
from frostline.errors import UserError
from frostline.files.atomic import sha256_json
from frostline.ranges import Count, Side

PIPELINE = 1
"""Raised by hand when the way from a user's sample to a network's input changes, so that no old cache entry is used."""


class OwnSplit:
    """Some of a user's samples. An augmented one in training is a function of (seed, index, view)."""

    lengths: Tensor | None = None

    def __init__(self, samples: Samples, look: SamplesLook, listing: Listing, labels: Tensor, seed: int | None) -> None:
        """Take samples by their places, ``listing.content``; without a ``seed`` there is one view of them."""
        self.names, self.labels = listing.names, labels
        self._samples, self._look, self._seed = samples, look, seed
        self._places = torch.as_tensor(np.asarray(listing.content))
        digests = [look.digests[place] for place in self._places.tolist()]  # of augmented ones: of the first reading
        self.fingerprint = sha256_json([*zip(self.names, labels.tolist(), digests, strict=True)])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digests(self) -> list[str] | None:
        """The SHA-256 of each sample's shape and values."""
        return None if self._look.augmented else [self._look.digests[place] for place in self._places.tolist()]

    def measure(self) -> dict[str, list[float]]:
        return {}  # all are of one shape

    def find_oddities(self, indices: Tensor) -> list[Oddity | None]:
        """Return what is odd about these samples: numbers that are none, or one number alone, over and over."""
        return [find_oddity(sample) for sample in self.peek(indices)]

    @property
    def costly(self) -> bool:
        return self._look.held is None

    def check(self) -> list[str]:
        return []  # all were read when the split was made

    def inputs(self, indices: Tensor, view: int) -> Tensor:
        """Return the inputs [B, *shape] of these samples under this view."""
        places = self._places[indices]
        if self._look.held is not None:
            return self._look.held.index_select(0, places)
        seed = () if self._seed is None else (self._seed, view)
        return self._samples.stack(places.tolist(), *seed)

    def peek(self, indices: Tensor) -> Tensor:
        """Return the inputs [B, *shape] of a few samples, the first view of augmented ones."""
        return self.inputs(indices, 0)

    def preview(self, index: int) -> bytes | None:
        """Return what looks like an image, [1 or 3, H, W], as a PNG: the lowest number black, the highest white."""
        sample = self.peek(torch.tensor([index]))[0]
        if sample.ndim != 3 or len(sample) not in (1, 3):
            return None
        if sample.dtype != torch.uint8:
            low, high = sample.min(), sample.max()
            sample = ((sample - low) * (255 / (high - low).clamp_min(1e-12))).round().to(torch.uint8)
        return encode_png(sample.expand(3, -1, -1))


def find_oddity(sample: Tensor) -> Oddity | None:
    """Return what is odd about a sample [*shape] by its numbers alone."""
    if not sample.isfinite().all():
        return Oddity(True, "holds values that are no numbers (NaN or infinite)")
    alike = sample.numel() > 1 and bool((sample == sample.flatten()[0]).all())
    return Oddity(False, "holds one number alone, over and over") if alike else None


@dataclass(frozen=True, kw_only=True)
class OwnOptions(Options):
    """The keys of data of the user's own; ``preprocess`` and ``augment`` come from the rest of a run."""

    preprocess: Preprocess
    augment: Any
    views: Count | None
    size: Side | None
    classes: Sequence[str] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment is not None:
            raise UserError("augment: data of your own are used as they are; augment in the dataset, and use none.")

    @property
    def memory_bytes(self) -> float:
        return self.memory_gb * 2**30


def as_data(
    found: Any = None,
    *,
    val_fraction: float,
    test_fraction: float,
    name: str | None,
    content: str | None,
    **common: Any,
) -> DataModule:
    """Return a DataModule of any data; a DataModule of Frostline's is returned as it is.

    That is what ``as_own_data`` takes. Missing splits are drawn from train. ``classes`` names the classes 0, 1, ...;
    by ``content``, the SHA-256 of the samples, and ``name`` a run's ID knows them. Inputs are used as they are, but for
    numbers in 16 or 64 bits, which become float32. Raises UserError for samples and labels that do not fit.
    """
    if isinstance(found, DataModule):
        return found
    if found is None:
        raise UserError(
            f"data: {name or 'these data'} were given to a run from Python, and no file holds them; make the same call "
            "again there, or use --allow MODULE and data._target_=MODULE.FUNCTION on the command line."
        )
    options, own = OwnOptions.read(common), as_own_data(found)
    looks = {split: samples.look(options.memory_bytes) for split, samples in own.splits.items()}
    listed, bad = _list_samples(looks, options)
    preprocess = _check_inputs(looks, options)
    divided = divide(listed, {"val": val_fraction, "test": test_fraction}, options, files=False)
    splits: dict[str, Split] = {}
    contents = {}
    for split, listing in divided.listings.items():
        source = split if split in own.splits else "train"
        seed = options.seed if split == "train" and looks[source].augmented else None
        splits[split] = OwnSplit(own.splits[source], looks[source], listing, divided.labels[split], seed)
        contents[split] = [looks[source].digests[place] for place in np.asarray(listing.content)]
    views = options.views if looks["train"].augmented else 1
    transforms: dict[str, str] = dict.fromkeys(SPLITS, f"own {PIPELINE}")
    if looks["train"].augmented:
        transforms["train"] += f" seed={options.seed}"
    return DataModule(
        splits,
        Facts(divided.classes, divided.counts, [*own.notes, *bad, *divided.notes, *count_duplicates(contents)]),
        Preparation(preprocess, transforms),
        Loading(options.batch_size, options.workers, views, options.seed, divided.draws, options.timeout_s),
    )


def _list_samples(looks: Mapping[str, SamplesLook], options: OwnOptions) -> tuple[Found, list[str]]:
    """Return the samples as found, by their places, without those that cannot be used, and notes on these."""
    splits = {}
    for split, look in looks.items():
        usable = [place for place, reason in enumerate(look.reasons) if reason is None]
        texts = dict(
            zip(
                usable,
                format_labels([look.labels[place] for place in usable], options.task, options.classes),
                strict=True,
            )
        )
        names = [f"{split}/{place}" for place in range(len(look.labels))]
        labels = [texts.get(place, "") for place in range(len(names))]
        splits[split] = Listing(names, labels, np.arange(len(names)))
    found = Found("data", splits, options.classes)

    def find_unfit(listing: Listing) -> list[str | None]:
        split = listing.names[0].partition("/")[0]
        return looks[split].reasons

    return leave_out(found, find_unfit, "samples", skip=options.on_bad == "skip")


def _check_inputs(looks: Mapping[str, SamplesLook], options: OwnOptions) -> Preprocess:
    """Return how the backbone is given the samples. Raises UserError where they are not as it wants them."""
    wanted = options.preprocess
    if isinstance(wanted, Pixels):
        wanted = replace(wanted, size=options.size or wanted.size)
        shape, dtype = (3, wanted.size, wanted.size), "uint8"
    elif isinstance(wanted, AsGiven):
        shape, dtype = wanted.shape, wanted.dtype
    else:
        raise UserError(f"data: they are tensors, and the network takes {wanted.modality}; choose another backbone.")
    for split, look in looks.items():
        found = str(look.dtype).removeprefix("torch.")
        if (look.shape, found) != (shape, dtype):
            raise UserError(
                f"data: samples of {split} are {found} {list(look.shape)}, and the network takes {dtype} {list(shape)}."
            )
    return wanted
