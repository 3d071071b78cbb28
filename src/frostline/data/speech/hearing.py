"""How a backbone wants its recordings: what all backbones for sound have in common."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from frostline.data.inputs import Preprocess, Ragged, pad_sequences


class Hearing(Preprocess, Protocol):
    """How a backbone wants its speech, from waves [B, N] at ``rate`` samples a second."""

    @property
    def rate(self) -> int: ...

    def example(self, count: int, size: int) -> Ragged: ...

    def encode(self, waves: Ragged) -> Ragged:
        """Return what the network takes of waves [B, N]."""
        ...

    def steps(self, samples: Tensor) -> Tensor:
        """Return how many steps the network makes of so many samples."""
        ...


def pad_waves(waves: Sequence[Tensor], size: int) -> Ragged:
    """Return waves [B, size], padded to the length that all samples of a run have."""
    return pad_sequences(waves).pad(size)
