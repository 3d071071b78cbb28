"""Input adapters: data of one modality in, what a network of another modality works on out."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.backbones.base import Backbone
from frostline.backbones.sequence import SequenceBackbone
from frostline.backbones.transformer import Transformer
from frostline.data import characters
from frostline.data.base import DataModule
from frostline.data.inputs import Inputs, Pixels, Preprocess, Ragged
from frostline.data.mel import Mel
from frostline.errors import UserError

FITTED = 256
"""Training samples that statistics are taken from; they hardly move with more."""
KEPT = 2048
"""Rows of a network's own table of embeddings that an adapter keeps, to be aligned with."""
IMAGE_SIZE = 32
"""Pixels a side where ``data.size`` is null: a sequence network has no size of its own for images."""
SECONDS = 2.0
"""Seconds where ``data.seconds`` is null."""


def none(*, backbone: Backbone, size: float | None = None) -> None:
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
        values = self.measured(train.peek(places))
        deviation, mean = torch.std_mean(values, dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 1e-6 * deviation.max(), deviation, 1.0))

    def measured(self, inputs: Inputs) -> Tensor:
        """Return what the statistics are over, [N, ...], one row for each value that is real."""
        return flat(inputs).flatten()[:, None]

    def own_features(self) -> Tensor:
        """Return what the network knew as inputs where it was pretrained, as vectors [N, D].

        Raises UserError where nothing is known of that.
        """
        raise UserError(
            "freeze=orca aligns an adapter with what the network was pretrained on, and this one has no table of "
            "embeddings to align with; choose freeze=fpt or freeze=full."
        )

    def vectors(self, outputs: Inputs) -> Tensor:
        """Return the outputs [N, D] of a batch as vectors like those of ``own_features``."""
        return flat(outputs)


def flat(inputs: Inputs) -> Tensor:
    """Return what is real of a batch, without the dimensions of samples and time."""
    if isinstance(inputs, Ragged):
        return inputs.values[inputs.mask].float()
    return inputs.flatten(0, 1).float()


class FrameAdapter(Adapter):
    """What all adapters before a sequence network have: they deliver frames [B, T, width].

    New frames get the scale of the network's own embeddings, where it has a table of them: else they would drown its
    position embeddings, or be drowned by them.
    """

    known: Tensor

    def __init__(self, backbone: Backbone, settings: dict[str, Any], statistics: Sequence[int] = (1,)) -> None:
        super().__init__(settings, statistics)
        name = type(self).__name__.lower()
        if not isinstance(backbone, SequenceBackbone):
            raise UserError(
                f"adapter={name}: it makes frames for a network of texts or sounds, and {backbone.name} takes images; "
                "choose adapter=spectrogram for sounds or adapter=rendering for texts."
            )
        chain = backbone.chain
        if chain.width is None:
            raise UserError(f"adapter={name}: {backbone.name} has no way in for frames; choose another backbone.")
        self.width, self.most = chain.width, chain.most
        table = embeddings(backbone)
        known = torch.zeros(0, self.width) if table is None else table[spread(len(table), KEPT)].clone()
        self.register_buffer("known", known, persistent=False)
        self.scale = float(table.std()) if table is not None else 1.0

    def check_length(self, key: str, frames: int) -> None:
        """Raise UserError, naming the ``key`` that sets it, where there are more frames than the network has places."""
        if self.most is not None and frames > self.most:
            raise UserError(
                f"adapter.{key}: {frames} frames a sample are more than the {self.most} positions of this backbone; "
                f"choose a larger adapter.{key} or smaller samples."
            )

    def own_features(self) -> Tensor:
        return self.known if len(self.known) else super().own_features()


def embeddings(backbone: SequenceBackbone) -> Tensor | None:
    """Return a language model's table of embeddings [V, width], None where a network has none."""
    chain = backbone.chain
    if not isinstance(chain, Transformer):
        return None
    table = chain.model.get_input_embeddings()  # type: ignore[operator]
    return table.weight.detach() if isinstance(table, nn.Embedding) else None


def spread(count: int, most: int) -> Tensor:
    """Return at most ``most`` places, evenly spaced from the first of ``count`` to the last."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


@torch.no_grad()
def scaled(layer: nn.Linear | nn.Conv1d, scale: float) -> None:
    """Let a layer give outputs of standard deviation ``scale`` for independent inputs of 1."""
    nn.init.normal_(layer.weight, std=scale / math.sqrt(layer.weight[0].numel()))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


class Patches(FrameAdapter):
    """Image patches of ``patch`` pixels a side through one linear layer, for a sequence network.

    The input layer of Frozen Pretrained Transformers (Lu et al. 2021, arXiv 2103.05247). ``positions`` adds a learned
    vector for each place in the picture, at first 0; the network adds its own along the sequence.
    """

    def __init__(self, patch: int = 4, positions: bool = True, *, backbone: Backbone, size: int | None = None) -> None:
        side = size or IMAGE_SIZE
        super().__init__(backbone, {"patch": patch, "positions": positions, "size": side}, (3,))
        if patch < 1 or side % patch:
            raise UserError(f"adapter.patch: {patch} does not divide data.size={side}; choose one that does.")
        count = (side // patch) ** 2
        self.check_length("patch", count)
        self.patch = patch
        self.preprocess = image_inputs(side)
        self.linear = nn.Linear(3 * patch**2, self.width)
        scaled(self.linear, self.scale)
        self.positions = nn.Parameter(torch.zeros(count, self.width)) if positions else None

    def measured(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        return inputs.float().transpose(1, 3).flatten(0, 2)

    def forward(self, images: Tensor) -> Ragged:
        """Return frames [B, (S / patch)^2, width] of uint8 images [B, 3, S, S], row by row."""
        pixels = (images.to(self.mean.dtype) - self.mean[:, None, None]) / self.deviation[:, None, None]
        patches = functional.unfold(pixels, self.patch, stride=self.patch).transpose(1, 2)
        frames = self.linear(patches)
        return dense(frames if self.positions is None else frames + self.positions)


class Rows(FrameAdapter):
    """The rows of an image as the frames of a speech network, whose bands are pixels at first, and then learned."""

    def __init__(self, *, backbone: Backbone, size: int | None = None) -> None:
        side = size or IMAGE_SIZE
        super().__init__(backbone, {"size": side})
        self.check_length("size", side)
        self.preprocess = image_inputs(side)
        self.linear = nn.Linear(side, self.width)
        resize = functional.interpolate(torch.eye(side)[None], self.width, mode="linear")[0]
        with torch.no_grad():
            self.linear.weight.copy_(resize.T * self.scale)
        nn.init.zeros_(self.linear.bias)

    def measured(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        return inputs.float().mean(dim=1).flatten()[:, None]

    def forward(self, images: Tensor) -> Ragged:
        """Return frames [B, S, width] of uint8 images [B, 3, S, S], from the top row down; colours are averaged."""
        pixels = (images.to(self.mean.dtype).mean(dim=1) - self.mean) / self.deviation
        return dense(self.linear(pixels))


class Frames(FrameAdapter):
    """Log-mel frames of speech through a strided linear layer, for a language model.

    ``stride`` frames of 10 ms, of ``bands`` bands each, become one.
    """

    def __init__(self, bands: int = 40, stride: int = 4, *, backbone: Backbone, size: float | None = None) -> None:
        seconds = size or SECONDS
        super().__init__(backbone, {"bands": bands, "stride": stride, "size": seconds}, (bands,))
        self.preprocess = speech_inputs(seconds, bands)
        self.stride = stride
        self.check_length("stride", -(-int(100 * seconds + 1) // stride))
        self.convolution = nn.Conv1d(bands, self.width, stride, stride)
        scaled(self.convolution, self.scale)

    def measured(self, inputs: Inputs) -> Tensor:
        return flat(inputs)

    def forward(self, frames: Ragged) -> Ragged:
        """Return frames [B, ceil(T / stride), width] of log-mel frames [B, T, bands]; the last may be partly empty."""
        values = (frames.values - self.mean) / self.deviation * frames.mask[..., None]
        return strided(self.convolution, values, frames.lengths)


class Characters(FrameAdapter):
    """The bytes of a text, each with a vector of its own, as the frames of a speech network.

    A convolution makes one frame of ``stride`` bytes with as many before and after them.
    """

    def __init__(self, stride: int = 2, embedding: int = 64, *, backbone: Backbone, size: int | None = None) -> None:
        most = size or 256
        super().__init__(backbone, {"stride": stride, "embedding": embedding, "size": most})
        self.check_length("stride", -(-most // stride))
        self.preprocess = characters.Characters(most)
        self.stride = stride
        self.embedding = nn.Embedding(characters.BYTES, embedding)
        self.convolution = nn.Conv1d(embedding, self.width, 3 * stride, stride, padding=stride)
        scaled(self.convolution, self.scale)

    def fit(self, data: DataModule) -> None:
        """Do nothing: bytes are not standardised."""

    def forward(self, texts: Ragged) -> Ragged:
        """Return frames [B, ceil(T / stride), width] of bytes [B, T]."""
        values = self.embedding(texts.values) * texts.mask[..., None]
        return strided(self.convolution, values, texts.lengths)


def strided(convolution: nn.Conv1d, values: Tensor, lengths: Tensor) -> Ragged:
    """Run a convolution whose stride divides its kernel over [B, T, D], padded so that no real frame is left out."""
    stride = convolution.stride[0]
    values = functional.pad(values, (0, 0, 0, -values.shape[1] % stride))
    return Ragged(convolution(values.transpose(1, 2)).transpose(1, 2), (lengths + stride - 1) // stride)


def dense(frames: Tensor) -> Ragged:
    """Return frames [B, T, D] that are all real."""
    return Ragged(frames, torch.full((len(frames),), frames.shape[1], device=frames.device))


def image_inputs(side: int) -> Pixels:
    """Return how images are prepared for a network that has no way of its own."""
    return Pixels(side, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")


def speech_inputs(seconds: float, bands: int) -> Mel:
    """Return how sounds are prepared for a network that has no way of its own: log-mel frames of 25 ms every 10 ms."""
    rate = 16000
    return Mel(size=round(seconds * rate), rate=rate, bands=bands, window=400, hop=160, fft=512, compression="log")
