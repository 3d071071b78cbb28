"""How a network of the user's own wants its samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from frostline.data.inputs import Preprocess, make_generator
from frostline.data.reading import Recipe
from frostline.errors import UserError


@dataclass(frozen=True)
class AsGiven(Preprocess):
    """How a network of the user's own wants its samples: as the data has them, of one shape and type."""

    modality: ClassVar[str] = "own"

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    @property
    def size(self) -> int:
        return self.shape[-1]

    @property
    def normalisation(self) -> str:
        return ""

    def describe(self, folder: Path) -> Recipe:
        """Raise UserError: only the user's own code knows how these inputs are made."""
        raise UserError(
            "this run's samples come from a data set of your own, which no program without it can make; export the "
            "network from Python, by torch.onnx or torch.export."
        )

    def example(self, count: int, size: int) -> Tensor:
        """Return [count, *shape]: normal numbers, bytes, or 0 and 1 for other whole numbers, such as tokens."""
        kind = getattr(torch, self.dtype)
        if kind.is_floating_point:
            return torch.randn(count, *self.shape, generator=make_generator()).to(kind)
        return torch.randint(256 if kind == torch.uint8 else 2, (count, *self.shape), generator=make_generator()).to(
            kind
        )
