"""Text as a sequence of numbered symbols, whatever they are: what bytes and tokens have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from frostline.data.inputs import Ragged, make_generator
from frostline.data.reading import Recipe, RunData
from frostline.data.text.reading import TextReader


@dataclass(frozen=True)
class Symbols(ABC):
    """Texts as int64 [T] from 0 to ``vocabulary`` - 1, of which at most ``size`` are kept of a text."""

    modality: ClassVar[str] = "text"
    any_length: ClassVar[bool]

    size: int

    @property
    @abstractmethod
    def normalisation(self) -> str: ...

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """How many rows an embedding must have for every symbol to have one."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the symbols [T] of each text, at most ``size`` of them."""

    @abstractmethod
    def describe(self, folder: Path) -> Recipe: ...

    @property
    def room(self) -> str:
        return f"data.tokens={self.size}"

    def count_cut(self, texts: Sequence[str], made: list[Tensor] | Tensor) -> int:
        """Return how many of the texts that were ``made`` into symbols were longer than allowed."""
        full = [text for text, sequence in zip(texts, made, strict=True) if len(sequence) == self.size]
        return sum(len(sequence) > self.size for sequence in replace(self, size=self.size + 1).encode(full))

    def reader(self, run: RunData) -> TextReader:
        return TextReader(self, run)

    def example(self, count: int, size: int) -> Ragged:
        """Return texts of random symbols, the first ``size`` long and each other one shorter."""
        values = torch.randint(0, self.vocabulary, (count, size), generator=make_generator())
        return Ragged(values, torch.tensor([max(1, size * (count - place) // count) for place in range(count)]))
