"""Text as the bytes of its UTF-8 form, for an adapter that gives each byte a vector of its own."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from frostline.data.reading import Recipe
from frostline.data.text.symbols import Symbols

BYTES = 256


@dataclass(frozen=True)
class Characters(Symbols):
    """Texts as their UTF-8 bytes, int64 [T] from 0 to 255: no tokenizer, and nothing that it does not know.

    ``size`` is the most bytes that are kept of a text.
    """

    any_length: ClassVar[bool] = False

    @property
    def vocabulary(self) -> int:
        return BYTES

    @property
    def normalisation(self) -> str:
        return "utf-8"

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the bytes [T] of each text, at most ``size`` of them; an empty text is one byte, a space."""
        return [torch.tensor(list((text or " ").encode()[: self.size])) for text in texts]

    def describe(self, folder: Path) -> Recipe:
        return Recipe(asdict(self), "data/text/templates/characters.j2")
