"""The activations of a split: rows of one shape, or sequences of which only what is real is kept."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from frostline.data.inputs import Inputs, Ragged, pad_sequences, split_items, take_values
from frostline.data.sending import Tapped


class Activations:
    """The activations of one view: one tensor in memory, or one for each file that is mapped from disk.

    Without ``lengths`` each part is [n, ...], a row for each sample. With them [N], parts are [frames, ...]: the
    samples' sequences one after the other, without padding.
    """

    def __init__(self, parts: Sequence[Tensor], lengths: Tensor | None = None, mapped: bool = False):
        self.parts, self.lengths, self.mapped = parts, lengths, mapped
        self.starts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)
        if lengths is not None:
            self.ends = lengths.cumsum(0)

    def select(self, indices: Tensor) -> Inputs:
        """Return the samples at these places [B]: rows [B, ...], or sequences padded to their longest."""
        if self.lengths is not None:
            ends = self.ends[indices].tolist()
            lengths = self.lengths[indices].tolist()
            return pad_sequences([self._stretch(end - length, end) for end, length in zip(ends, lengths, strict=True)])
        if len(self.parts) == 1:
            return self.parts[0].index_select(0, indices)
        selected = self.parts[0].new_empty((len(indices), *self.parts[0].shape[1:]))
        for part, start, end in zip(self.parts, self.starts[:-1], self.starts[1:], strict=True):
            here = (start <= indices) & (indices < end)
            selected[here] = part.index_select(0, indices[here] - start)
        return selected

    def _stretch(self, start: int, end: int) -> Tensor:
        """Return frames from ``start`` up to ``end``; no sequence goes from one part to the next."""
        place = int(torch.searchsorted(self.starts, start, right=True)) - 1 if len(self.parts) > 1 else 0
        offset = int(self.starts[place])
        return self.parts[place][start - offset : end - offset]

    def select_rows(self, indices: Tensor) -> Tensor:
        """Return the rows [B, ...] at these places."""
        found = self.select(indices)
        assert isinstance(found, Tensor), "sequences are no rows"
        return found

    def load_rows(self) -> Tensor:
        """Return all rows [N, ...] in memory."""
        assert self.lengths is None, "sequences are no rows"
        return self.parts[0] if len(self.parts) == 1 else torch.cat(list(self.parts))

    @property
    def bytes(self) -> int:
        """How much memory the activations take."""
        return sum(part.nbytes for part in self.parts)

    def to(self, device: torch.device) -> "Activations":
        """Return the same in the memory of a device, part after part: the host never holds them all."""
        assert self.lengths is None, "sequences are padded to a length that the host must know"
        first, end = self.parts[0], 0
        held = torch.empty((sum(map(len, self.parts)), *first.shape[1:]), dtype=first.dtype, device=device)
        for part in self.parts:
            start, end = end, end + len(part)
            held[start:end] = part
        return Activations([held])


class CachedSplit:
    """Activations of one split at one cut; a data source like the split itself.

    ``seconds_per_sample`` is what one process took to compute one of them, by which the savings are counted.
    """

    def __init__(self, views: Mapping[int, Activations], seconds_per_sample: float):
        self.views = dict(views)
        self.seconds_per_sample = seconds_per_sample

    @property
    def device(self) -> torch.device | None:
        """In which memory all of it lies; None: some is read from files."""
        rows = self.views.values()
        return None if any(own.mapped for own in rows) else next(iter(rows)).parts[0].device

    @property
    def bytes(self) -> int:
        """How much memory all views take."""
        return sum(own.bytes for own in self.views.values())

    def move(self, device: torch.device) -> None:
        """Keep all views in the memory of a device from here on; sequences cannot go there (`Activations.to`)."""
        self.views = {view: own.to(device) for view, own in self.views.items()}

    def release(self) -> None:
        """Hold no activations any more: whoever has this still, as Lightning has its loaders, holds no memory by it."""
        self.views.clear()

    def inputs(self, indices: Tensor, view: int) -> Inputs:
        """Return the activations [B, ...] of these samples in this view."""
        return self.views[view].select(indices)


class TappedSplit:
    """What is stored of one split for a head that reads several depths; a data source like the split itself.

    ``activation`` is that at the cut from which the network is run, None where it is not run; ``taps`` are by name, in
    depth order.
    """

    def __init__(self, activation: CachedSplit | None, taps: Mapping[str, CachedSplit]):
        self.activation, self.taps = activation, dict(taps)

    @property
    def parts(self) -> list[CachedSplit]:
        """All that is stored."""
        return [*self.taps.values(), *([] if self.activation is None else [self.activation])]

    @property
    def seconds_per_sample(self) -> float:
        """What one process took to compute the deepest of it for one sample."""
        return max(part.seconds_per_sample for part in self.parts)

    @property
    def device(self) -> torch.device | None:
        """In which memory all of it lies; None: some is read from files."""
        found = {part.device for part in self.parts}
        return found.pop() if len(found) == 1 else None

    def inputs(self, indices: Tensor, view: int) -> Tapped:
        """Return what is stored of these samples in this view."""
        activation = None if self.activation is None else self.activation.inputs(indices, view)
        return Tapped(activation, {name: tap.views[view].select_rows(indices) for name, tap in self.taps.items()})


StoredSplit = CachedSplit | TappedSplit


def sort_outputs(outputs: Sequence[Inputs], indices: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return the outputs of some batches in the order of their samples' indices.

    As rows [n, ...] and None, or as frames [sum of lengths, ...] without padding and lengths [n].
    """
    order = torch.cat(list(indices)).argsort()
    if not isinstance(outputs[0], Ragged):
        joined = torch.cat(list(map(take_values, outputs)))
        ascending = bool((order[1:] > order[:-1]).all())
        return joined if ascending else joined.index_select(0, order), None
    sequences = [sequence for output in outputs for sequence in split_items(output)]
    chosen = [sequences[place] for place in order.tolist()]
    return torch.cat(chosen), torch.tensor([len(one) for one in chosen])
