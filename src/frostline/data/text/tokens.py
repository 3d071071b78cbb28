"""Text as the tokens of a pretrained network's own tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from frostline.data.inputs import digest
from frostline.data.reading import Recipe
from frostline.data.text.symbols import Symbols
from frostline.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
AT_ONCE = 4096
"""Texts that are tokenised in one call: the library's own objects take kilobytes a text."""


@dataclass(frozen=True)
class Tokens(Symbols):
    """Texts as token IDs, int64 [T], with whatever special tokens the network was trained with.

    ``size`` is the most tokens of a text, special ones included: of a longer text the end is cut off, but never a
    special token. ``tokenizer`` is the text of a tokenizer.json, for which ``digest`` stands.
    """

    any_length: ClassVar[bool] = True

    tokenizer: str = field(repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self.tokenizer))
        special = self._backend.num_special_tokens_to_add(is_pair=False)
        if self.size <= special:
            raise UserError(
                f"data.tokens: {self.size} is too small; with {special} special tokens it is at least {special + 1}."
            )
        self._backend.enable_truncation(self.size)

    @cached_property
    def _backend(self) -> "Tokenizer":
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise UserError("text needs the package tokenizers; run: pip install 'frostline[text]'.") from error
        made = Tokenizer.from_str(self.tokenizer)
        made.no_padding()
        return made

    @property
    def normalisation(self) -> str:
        return ""

    @property
    def vocabulary(self) -> int:
        return max(self._backend.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the tokens [T] of each text."""
        return [
            torch.tensor(one.ids, dtype=torch.int64)
            for start in range(0, len(texts), AT_ONCE)
            for one in self._backend.encode_batch_fast(list(texts[start : start + AT_ONCE]))
        ]

    def describe(self, folder: Path) -> Recipe:
        """Return how tokens are made outside of Frostline; the tokenizer is written into ``folder``."""
        (folder / TOKENIZER).write_text(self.tokenizer, encoding="utf-8")
        wanted = {"size": self.size, "tokenizer": TOKENIZER}
        return Recipe(wanted, "data/text/templates/tokens.j2", imports=("from tokenizers import Tokenizer",))
