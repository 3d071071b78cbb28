"""Input adapters: data of one modality in, what a network of another modality works on out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from frostline.data.base import DataModule
from frostline.data.inputs import Inputs, Preprocess, take_real, take_values
from frostline.data.speech.mel import Mel
from frostline.errors import UserError

FITTED = 256
"""Training samples that statistics are taken from; they hardly move with more."""
SECONDS = 2.0
"""Where ``data.seconds`` is null."""


def none() -> None:
    """No adapter: the backbone takes the data as it is."""


class Adapter(nn.Module):
    """A trainable group of its own before all groups of a backbone.

    ``preprocess`` is what it wants of the data, ``architecture`` text that stands for its settings. ``mean`` and
    ``deviation`` standardise what comes in; ``fit`` measures them on the training data, so they are the same for
    each sitting of a run, and as buffers they are in the weights and the cache's keys.
    """

    mean: Tensor
    deviation: Tensor
    preprocess: Preprocess

    def __init__(self, settings: dict[str, Any], statistics: Sequence[int] = (1,)) -> None:
        super().__init__()
        self.architecture = f"{type(self).__name__} {settings}"
        self.register_buffer("mean", torch.zeros(*statistics))
        self.register_buffer("deviation", torch.ones(*statistics))

    def fit(self, data: DataModule) -> None:
        """Measure mean and standard deviation on evenly spaced training samples, without augmentation."""
        train = data.splits["train"]
        places = torch.linspace(0, len(train) - 1, min(FITTED, len(train))).round().long()
        values = self.select_values(train.peek(places))
        deviation, mean = torch.std_mean(values, dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 1e-6 * deviation.max(), deviation, 1.0))

    def select_values(self, inputs: Inputs) -> Tensor:
        """Return the values [N, ...] that mean and deviation are taken over: all but padding."""
        return take_real(inputs).float().flatten()[:, None]

    def own_features(self) -> Tensor:
        """Return what the network knew as inputs where it was pretrained, as vectors [N, D].

        Raises UserError where nothing is known of that.
        """
        raise UserError(
            "freeze=orca aligns an adapter with what the network was pretrained on, and this one has no table of "
            "embeddings to tell it; set adapter.source to a folder of recordings like those, or choose freeze=full."
        )

    def vectors(self, outputs: Inputs) -> Tensor:
        """Return the outputs of a batch as vectors [N, D] like those of ``own_features``, the padding of sequences too.

        To leave it out here would be to wait for the device: only there is it known how much is left.
        """
        return take_values(outputs).flatten(0, 1).float()


def speech_inputs(seconds: float, bands: int) -> Mel:
    """Return how sounds are prepared for a network that has no way of its own: log-mel frames of 25 ms every 10 ms."""
    rate = 16000
    return Mel(size=round(seconds * rate), rate=rate, bands=bands, window=400, hop=160, fft=512, compression="log")
