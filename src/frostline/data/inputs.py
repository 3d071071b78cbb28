"""What a batch of samples is, and how a backbone wants it: pixels, tokens, waveforms or frames."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from frostline.errors import UserError

if TYPE_CHECKING:
    from frostline.data.reading import Reader, Recipe, RunData


class Ragged(NamedTuple):
    """A batch of sequences, padded to one length: values [B, T, ...], of which the first ``lengths`` [B] are real."""

    values: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """Return [B, T], true where a value is real."""
        return torch.arange(self.values.shape[1], device=self.lengths.device) < self.lengths[:, None]

    @property
    def real(self) -> Tensor:
        """Return the values [sum of lengths, ...] that are real, sequence after sequence."""
        return self.values[self.mask]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Ragged":
        """Return the same on a device; ``non_blocking`` is torch's."""
        return Ragged(*(tensor.to(device, non_blocking=non_blocking) for tensor in self))

    def map(self, function: Callable[[Tensor], Tensor]) -> "Ragged":
        """Return sequences of the same lengths with ``function`` of the values."""
        return Ragged(function(self.values), self.lengths)

    def pad(self, size: int) -> "Ragged":
        """Return the same padded with zeros to ``size`` positions, or as it is where it has more."""
        rest = [0, 0] * (self.values.ndim - 2)
        return self.map(lambda values: functional.pad(values, (*rest, 0, max(0, size - values.shape[1]))))

    def take(self, indices: Tensor) -> "Ragged":
        """Return the sequences at these places [n]."""
        return Ragged(*(tensor.index_select(0, indices) for tensor in self))

    def mean(self) -> Tensor:
        """Return the mean [B, D] over what is real."""
        values = self.values.masked_fill(~self.mask[..., None], 0)
        return values.sum(dim=1) / self.lengths.clamp_min(1)[:, None].to(values.dtype)

    def max(self) -> Tensor:
        """Return the maximum [B, D] over what is real, 0 where nothing is."""
        values = self.values.masked_fill(~self.mask[..., None], -torch.inf).amax(dim=1)
        return values.masked_fill(self.lengths[:, None] == 0, 0)


Inputs = Tensor | Ragged
"""What a backbone takes: images [B, 3, S, S] as uint8, or sequences."""


def pad_sequences(sequences: Sequence[Tensor]) -> Ragged:
    """Return sequences [T_i, ...] as one batch, padded with zeros to the longest."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return Ragged(pad_sequence(list(sequences), batch_first=True), lengths)


def list_tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors that a batch is made of: its values and, where it is of sequences, their lengths."""
    return tuple(inputs) if isinstance(inputs, Ragged) else (inputs,)


def take_values(inputs: Inputs) -> Tensor:
    """Return the values [B, ...] of a batch, the padding of sequences included."""
    return inputs.values if isinstance(inputs, Ragged) else inputs


def take_real(inputs: Inputs) -> Tensor:
    """Return the values that are real: [B, ...], or of sequences [sum of lengths, ...]."""
    return inputs.real if isinstance(inputs, Ragged) else inputs


def count(inputs: Inputs) -> int:
    """Return how many samples a batch has."""
    return len(list_tensors(inputs)[-1])


def find_item_shape(inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of a sample, or of one position of a sequence."""
    return tuple(take_values(inputs).shape[2 if isinstance(inputs, Ragged) else 1 :])


def map_values(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Return a batch with ``function`` of its values; sequences keep their lengths."""
    return inputs.map(function) if isinstance(inputs, Ragged) else function(inputs)


def map_tensors(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Return a batch with ``function`` of each tensor that it is made of."""
    return Ragged(*map(function, inputs)) if isinstance(inputs, Ragged) else function(inputs)


def split_items(inputs: Inputs) -> list[Tensor]:
    """Return the samples [...] of a batch one by one, sequences without their padding."""
    if not isinstance(inputs, Ragged):
        return list(inputs)
    return [values[:length] for values, length in zip(inputs.values, inputs.lengths.tolist(), strict=True)]


def pad_batch(inputs: Inputs, size: int) -> Inputs:
    """Return sequences padded with zeros to ``size`` positions or more; other batches are as they are."""
    return inputs.pad(size) if isinstance(inputs, Ragged) else inputs


def split_batch(inputs: Inputs, size: int) -> list[Inputs]:
    """Return a batch as smaller ones, of at most ``size`` samples each."""
    if not isinstance(inputs, Ragged):
        return list(inputs.split(size))
    return [Ragged(*pair) for pair in zip(inputs.values.split(size), inputs.lengths.split(size), strict=True)]


def equals(one: Inputs, other: Inputs) -> bool:
    """Return whether two batches hold the same, bit for bit; what stands beyond a sequence's end does not count."""
    alike = all(map(torch.equal, list_tensors(one)[1:], list_tensors(other)[1:]))
    return alike and type(one) is type(other) and torch.equal(take_real(one), take_real(other))


class Preprocess(Protocol):
    """How a backbone, or the adapter before it, wants its samples; frozen, and equal only if it does the same.

    ``modality`` is that of the data which can be made so: ``image``, ``text`` or ``speech``. ``size`` is how large a
    sample is, or is at most: pixels a side, tokens, or samples of a waveform. ``normalisation`` is text for a cache's
    key of what the backbone itself does to its inputs beyond its weights. ``any_length`` says whether what a network
    makes of a sequence does not depend on how far it is padded.
    """

    modality: ClassVar[str]
    any_length: ClassVar[bool] = False

    @property
    def size(self) -> int: ...

    @property
    def normalisation(self) -> str: ...

    def example(self, count: int, size: int) -> Inputs:
        """Return the same random inputs each time, of ``size``, without touching the global random state."""
        ...

    def reader(self, run: "RunData") -> "Reader":
        """Return what reads new samples exactly as those of a run's test split were read.

        Raises UserError where a data set of the user's own does not say how.
        """
        raise UserError(
            "this run's samples come from a data set of your own, which does not say how new ones are read; call the "
            "network from Python."
        )

    def describe(self, folder: Path) -> "Recipe":
        """Return how a program without Frostline makes inputs; the files that it needs are written into ``folder``."""
        ...


@dataclass(frozen=True)
class Pixels:
    """How an image backbone wants its images: the evaluation preprocessing that came with its weights, and the data's.

    ``size`` is in pixels a side; ``crop`` is the share of a side that is kept where the centre is cut out (timm's
    crop_pct), so images are resized to ``size / crop`` before; ``fit`` says which side (``crop`` the short one,
    ``pad`` the long one, ``squash`` both); ``background`` stands behind transparent and beside padded images. ``span``
    are the values that become 0 and 255 where an image has more than 8 bits; None where no training image has.
    ``mean`` and ``std`` are for the backbone, which normalises by itself.
    """

    modality: ClassVar[str] = "image"
    any_length: ClassVar[bool] = False

    size: int
    crop: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    fit: str = "crop"
    background: tuple[int, int, int] = (255, 255, 255)
    span: tuple[float, float] | None = None

    @property
    def resized(self) -> int:
        """Return the length in pixels to which a side is resized before the centre is cut out, as timm reckons it."""
        return math.floor(self.size / self.crop)

    @property
    def recipe(self) -> dict[str, Any]:
        """Return all that :mod:`frostline.data.image.viewing` must know, as plain values."""
        return {**asdict(self), "resized": self.resized, "span": self.span or WHOLE}

    @property
    def transform(self) -> str:
        """Return text for a cache's key: all that is done to an image before the backbone normalises it."""
        return " ".join(f"{key}={value}" for key, value in self.recipe.items() if key not in ("mean", "std"))

    @property
    def normalisation(self) -> str:
        return f"{self.mean} {self.std}"

    def example(self, count: int, size: int) -> Tensor:
        """Return uint8 images [count, 3, size, size]."""
        return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=make_generator())

    def reader(self, run: "RunData") -> "Reader":
        from frostline.data.image.reading import ImageReader  # which decodes, as most of those who want this do not

        return ImageReader(self, run)

    def describe(self, folder: Path) -> "Recipe":
        from frostline.data.image.reading import describe_images

        return describe_images(self)


WHOLE = (0.0, 65535.0)
"""The values that become 0 and 255 where images have more than 8 bits and the training images do not say better."""


ADAPTERS = {
    ("speech", "image"): ("spectrogram",),
    ("text", "image"): ("rendering",),
    ("image", "text"): ("patches",),
    ("speech", "text"): ("frames",),
    ("image", "speech"): ("rows",),
    ("text", "speech"): ("characters",),
}
"""By the modality of the data and that of the backbone: the adapters that lead from one to the other."""


UNITS = {"size": "image", "tokens": "text", "seconds": "speech"}
"""What says how large a sample is, as a key of data and as a parameter of what is built for them: of which modality."""


def make_generator() -> torch.Generator:
    """Return a generator that gives the same numbers each time."""
    return torch.Generator().manual_seed(0)


def digest(*parts: object) -> str:
    """Return 16 hexadecimal digits that stand for the text of ``parts``."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def check_modality(preprocess: Preprocess, modality: str, where: str) -> None:
    """Refuse data of one modality for a backbone of another.

    Raises UserError that names ``where`` the data are from, both modalities, and the adapters between them.
    """
    if preprocess.modality == modality:
        return
    raise UserError(
        f"{where}: this is {modality} data, and the network takes {preprocess.modality}; choose a backbone for "
        f"{modality}, or let the data in by {name_adapters(modality, preprocess.modality)}."
    )


def name_adapters(data: str, network: str) -> str:
    """Return what to choose as ``adapter`` between data of one modality and a network of one."""
    return " or ".join(f"adapter={name}" for name in ADAPTERS.get((data, network), ("none",)))
