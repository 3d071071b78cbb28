"""Text as the bytes of its UTF-8 form, for an adapter that gives each byte a vector of its own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from frostline.data.inputs import Ragged, make_generator
from frostline.data.reading import Recipe, RunData
from frostline.data.text.encoded import count_cut
from frostline.data.text.reading import TextReader

BYTES = 256


@dataclass(frozen=True)
class TextBytes:
    """Texts as their UTF-8 bytes, int64 [T] from 0 to 255: no tokenizer, and nothing that it does not know.

    ``size`` is the most bytes that are kept of a text.
    """

    modality: ClassVar[str] = "text"
    any_length: ClassVar[bool] = False

    size: int

    @property
    def normalisation(self) -> str:
        return "utf-8"

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the bytes [T] of each text, at most ``size`` of them; an empty text is one byte, a space."""
        return [torch.tensor(list((text or " ").encode()[: self.size])) for text in texts]

    @property
    def room(self) -> str:
        return f"data.tokens={self.size}"

    def count_cut(self, texts: Sequence[str], made: list[Tensor] | Tensor) -> int:
        return count_cut(self, texts, made)

    def reader(self, run: RunData) -> TextReader:
        return TextReader(self, run)

    def describe(self, folder: Path) -> Recipe:
        return Recipe(asdict(self), "data/text/templates/characters.j2")

    def example(self, count: int, size: int) -> Ragged:
        """Return texts of random bytes, the first ``size`` long and each other one shorter."""
        values = torch.randint(0, BYTES, (count, size), generator=make_generator())
        return Ragged(values, torch.tensor([max(1, size * (count - place) // count) for place in range(count)]))
