"""A network over sequences as a chain: a front, blocks one after the other, and a finish."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import cast

from torch import nn

from frostline.data.inputs import Ragged

EMBEDDINGS, NORM, END = "embeddings", "norm", "end"
Visit = Callable[[str, Ragged], bool]
"""Told of the value at each cut that is passed; true: go no further."""


def name_block(place: int) -> str:
    """Return the name of the cut, and the group, of the block at ``place``, counted from 0."""
    return f"block{place + 1}"


class Chain(nn.Module):
    """What a sequence backbone runs.

    ``width`` is that of the frames which an adapter delivers in place of what the data set does, None where there is
    no way in for them; ``most`` is how many positions there are at most. Cuts are ``embeddings`` (before the first
    block), ``block1`` ... (after each block) and ``end`` (after the last norm).
    """

    width: int | None
    most: int | None

    @property
    @abstractmethod
    def depth(self) -> int:
        """How many blocks there are."""

    @abstractmethod
    def owners(self) -> Iterator[tuple[str, str]]:
        """Yield (group, name of a module it owns) in depth order; what nobody owns belongs to ``embeddings``."""

    @abstractmethod
    def run(self, value: Ragged, start: str | None, visit: Visit) -> None:
        """Go from inputs (``start`` None), an adapter's frames ("adapter") or the value at a cut to the end."""

    @abstractmethod
    def front(self, inputs: Ragged) -> Ragged:
        """Return the frames [B, T, width] made of the data set's inputs. An adapter's frames replace these."""

    def without_tokens(self) -> None:
        """Remove what only a data set's own inputs need, as frames come from an adapter."""

    @property
    def cuts(self) -> list[str]:
        """Return the cuts before the end, in depth order."""
        return [EMBEDDINGS, *(name_block(place) for place in range(self.depth))]

    def groups(self) -> dict[str, list[str]]:
        """Return the parameters' names by group, in depth order; groups without parameters are left out."""
        return self.group_by_owner(name for name, _ in self.named_parameters())

    def group_by_owner(self, names: Iterator[str]) -> dict[str, list[str]]:
        """Return names of parameters or buffers by the group that owns them, in depth order."""
        prefixes = [(group, f"{prefix}.") for group, prefix in self.owners()]
        found: dict[str, list[str]] = {EMBEDDINGS: []}
        found |= {group: [] for group, _ in prefixes}
        for name in names:
            owner = next((group for group, prefix in prefixes if name.startswith(prefix)), EMBEDDINGS)
            found[owner].append(name)
        return {group: members for group, members in found.items() if members}


class Blocks(Chain):
    """A chain of modules from ``Ragged`` to ``Ragged``, its ``blocks``."""

    blocks: nn.ModuleList
    tail: tuple[str, ...] = ()
    """The names of the modules that ``finish`` uses, which form the group ``norm``."""

    def front(self, inputs: Ragged) -> Ragged:
        return inputs

    def enter(self, frames: Ragged) -> Ragged:
        """Return the input of the first block, of frames [B, T, width]."""
        return frames

    def finish(self, hidden: Ragged) -> Ragged:
        """Return the network's output [B, T, D], made of the last block's."""
        return hidden

    @property
    def depth(self) -> int:
        return len(self.blocks)

    def owners(self) -> Iterator[tuple[str, str]]:
        yield from ((name_block(place), f"blocks.{place}") for place in range(self.depth))
        yield from ((NORM, name) for name in self.tail)

    def run(self, value: Ragged, start: str | None, visit: Visit) -> None:
        first = self.cuts.index(start) if start in self.cuts else 0
        if start not in self.cuts:
            value = self.enter(self.front(value) if start is None else value)
            if visit(EMBEDDINGS, value):
                return
        for place in range(first, self.depth):
            value = cast(Ragged, self.blocks[place](value))
            if visit(name_block(place), value):
                return
        visit(END, self.finish(value))
