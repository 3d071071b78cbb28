"""How samples come in batches: from a split or from what was stored of it, by processes, by a thread or as they lie."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from frostline.data.inputs import Inputs
from frostline.data.sending import Tapped
from frostline.data.threads import make_ahead
from frostline.errors import UserError


class Source(Protocol):
    """Anything that serves model inputs by sample index: a split's images, or features cached for them."""

    def inputs(self, indices: Tensor, view: int) -> Inputs:
        """Return the inputs [B, ...] of these samples [B] under this view (0 for val and test)."""
        ...


class Oddity(NamedTuple):
    """What is odd about a sample: whether it cannot be used at all, and how to say it, with the sample as subject."""

    unusable: bool
    text: str


class Split(Source, Protocol):
    """One split of a data set: ``labels`` [N, ...], a stable name for each sample, and a digest of all of it.

    ``lengths`` [N] are those of sequences, by which batches are made; None where all samples are alike.
    """

    labels: Tensor
    names: list[str]
    fingerprint: str

    @property
    def lengths(self) -> Tensor | None: ...

    def __len__(self) -> int: ...

    @property
    def digests(self) -> Sequence[str] | None:
        """Text for each sample, the same for samples of the same content; None where it is another one each time."""
        ...

    def measure(self) -> Mapping[str, Sequence[float]]:
        """Return how large each sample is, by unit; nothing is decoded. 0: it is empty; none where all are alike."""
        ...

    def find_oddities(self, indices: Tensor) -> list[Oddity | None]:
        """Return what is odd about the content of each of these samples, which are decoded for it."""
        ...

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


class Stored(Protocol):
    """A source whose samples were made before: in memory, of this machine or of a ``device``, or in files (None)."""

    def inputs(self, indices: Tensor, view: int) -> Inputs | Tapped:
        """Return what is stored [B, ...] of these samples [B] under this view (0 for val and test)."""
        ...

    @property
    def device(self) -> torch.device | None: ...


class Served(Dataset[dict[str, Any]]):
    """A source with its labels, indexed by what EpochBatches yields: a whole batch at a time.

    Batches that have yet to be ``augmented``, where the network is, say their view.
    """

    def __init__(self, source: Source | Stored, labels: Tensor, augmented: bool = False) -> None:
        self.source, self.labels, self.augmented = source, labels, augmented

    def __getitem__(self, index: tuple[int, Tensor, Tensor]) -> dict[str, Any]:
        view, indices, weight = index
        label = self.labels[indices]
        inputs = self.source.inputs(indices, view) if len(indices) else torch.zeros(0)
        batch = {"inputs": inputs, "label": label, "index": indices, "weight": weight}
        return {**batch, "view": view} if self.augmented else batch


@dataclass(frozen=True)
class Loading:
    """How samples are put into batches; none of it changes a sample.

    ``draws`` [N] says in what proportion training samples are drawn; None: each once an epoch. ``timeout_s`` is how
    long a batch of the ``workers`` processes may take; None: for ever.
    """

    batch_size: int
    workers: int
    views: int | None
    seed: int
    draws: Tensor | None = None
    timeout_s: float | None = None


class Loader(DataLoader[dict[str, Any]]):
    """torch's loader of whole batches, which says which key it goes by where its processes hang.

    With ``ahead`` a thread makes the next batches while one is used.
    """

    def __init__(
        self,
        served: Served,
        batches: Sampler | Sequence,
        workers: int,
        timeout_s: float | None,
        ahead: bool = False,
        **options: Any,
    ):
        self.ahead = ahead
        limit = timeout_s or 0 if workers else 0
        super().__init__(served, sampler=batches, batch_size=None, num_workers=workers, timeout=limit, **options)

    def __iter__(self) -> Any:
        batches = _limit_time(super().__iter__(), self.timeout)
        return make_ahead(batches) if self.ahead else batches


def yield_with_ends(loader: Iterable[dict[str, Any]], ends: Sequence[bool]) -> Generator[tuple[Tensor, Inputs, bool]]:
    """Yield each batch's indices [B], inputs [B, ...] and whether a window ends with it.

    To close it ends the loader's thread or processes. Raises UserError where a batch is late.
    """
    with closing(cast(Generator[dict[str, Any]], iter(loader))) as batches:
        for batch, complete in zip(batches, ends, strict=True):
            yield batch["index"], batch["inputs"], complete


def _limit_time(batches: Iterator[dict[str, Any]], limit: float) -> Generator[dict[str, Any]]:
    try:
        yield from batches
    except RuntimeError as error:
        if "timed out" not in str(error):
            raise
        raise UserError(
            f"data.timeout_s: no batch came from the data-loading processes (data.workers) in {limit:g} s; see whether "
            "the data can be read at all, or give them more."
        ) from error
