"""Adapters that make frames for sequence networks: patches and rows of images, frames of sounds, bytes of texts."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.backbones.adapters.base import SECONDS, Adapter, speech_inputs
from frostline.backbones.base import Backbone
from frostline.backbones.chains.backbone import SequenceBackbone
from frostline.backbones.chains.transformer import Transformer
from frostline.data.base import DataModule
from frostline.data.inputs import Inputs, Pixels, Ragged, take_real
from frostline.data.speech.hearing import Hearing
from frostline.data.speech.recordings import read_some
from frostline.data.text import characters
from frostline.errors import UserError
from frostline.ranges import AtLeastOne

KEPT = 2048
"""Rows of a network's own table of embeddings, or frames of its own sounds, that an adapter is aligned with."""
HEARD = 64
"""Recordings that those frames are of, at most."""
IMAGE_SIZE = 32
"""Pixels a side where ``data.size`` is null: a sequence network has no size of its own for images."""
LARGER = "choose a larger one, or smaller samples"


class FrameAdapter(Adapter):
    """What all adapters before a sequence network have: they deliver frames [B, T, width].

    New frames get the scale of the network's own embeddings, where it has a table of them: else they would drown its
    position embeddings, or be drowned by them. ``source`` is a folder of recordings like those that a network of sounds
    was pretrained on; they are read by ``own_features`` alone.
    """

    known: Tensor

    def __init__(
        self,
        backbone: Backbone,
        settings: dict[str, Any],
        statistics: Sequence[int] = (1,),
        source: str | None = None,
    ) -> None:
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
        table = embedding_table(backbone)
        known = torch.zeros(0, self.width) if table is None else table[spread_places(len(table), KEPT)].clone()
        self.register_buffer("known", known, persistent=False)
        self.scale = float(table.std()) if table is not None else 1.0
        if source is not None and backbone.preprocess.modality != "speech":
            raise UserError(f"adapter.source: {backbone.name} has no use for recordings; leave it null.")
        self.source, self.front = source, chain.front
        self.hearing = cast(Hearing, backbone.preprocess)

    def check_length(self, frames: int, key: str, remedy: str) -> None:
        """Raise UserError, naming the ``key`` that sets it, where there are more frames than the network has places."""
        if self.most is not None and frames > self.most:
            raise UserError(
                f"{key}: {frames} frames a sample are more than the {self.most} positions of this backbone; {remedy}."
            )

    def own_features(self) -> Tensor:
        """Return rows of the table of embeddings, or the frames that the network makes of recordings in ``source``.

        Raises UserError where there is neither, or a recording that cannot be used.
        """
        if self.source is None:
            return self.known if len(self.known) else super().own_features()
        sounds = read_some("adapter.source", self.source, self.hearing, HEARD)
        with torch.no_grad():
            frames = self.front(sounds).real.float()
        return frames[spread_places(len(frames), KEPT)].to(self.mean.device)


def embedding_table(backbone: SequenceBackbone) -> Tensor | None:
    """Return a language model's table of embeddings [V, width], None where a network has none."""
    chain = backbone.chain
    if not isinstance(chain, Transformer):
        return None
    table = chain.model.get_input_embeddings()  # type: ignore[operator]
    return table.weight.detach() if isinstance(table, nn.Embedding) else None


def spread_places(count: int, most: int) -> Tensor:
    """Return at most ``most`` places, evenly spaced from the first of ``count`` to the last."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


@torch.no_grad()
def scale_outputs(layer: nn.Linear | nn.Conv1d, scale: float) -> None:
    """Let a layer give outputs of standard deviation ``scale`` for independent inputs of 1."""
    nn.init.normal_(layer.weight, std=scale / math.sqrt(layer.weight[0].numel()))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


class Patches(FrameAdapter):
    """Image patches of ``patch`` pixels a side through one linear layer, for a sequence network.

    The input layer of Frozen Pretrained Transformers (Lu et al. 2021, arXiv 2103.05247). ``positions`` adds a learned
    vector for each place in the picture, at first 0; the network adds its own along the sequence.
    """

    def __init__(
        self,
        patch: AtLeastOne,
        positions: bool,
        source: str | None,
        *,
        backbone: Backbone,
        size: int | None = None,
    ) -> None:
        side = size or IMAGE_SIZE
        super().__init__(backbone, {"patch": patch, "positions": positions, "size": side}, (3,), source)
        if side % patch:
            raise UserError(f"adapter.patch: {patch} does not divide data.size={side}; choose one that does.")
        count = (side // patch) ** 2
        self.check_length(count, "adapter.patch", LARGER)
        self.patch = patch
        self.preprocess = image_inputs(side)
        self.linear = nn.Linear(3 * patch**2, self.width)
        scale_outputs(self.linear, self.scale)
        self.positions = nn.Parameter(torch.zeros(count, self.width)) if positions else None

    def select_values(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        return inputs.float().transpose(1, 3).flatten(0, 2)

    def forward(self, images: Tensor) -> Ragged:
        """Return frames [B, (S / patch)^2, width] of uint8 images [B, 3, S, S], row by row."""
        pixels = (images.to(self.mean.dtype) - self.mean[:, None, None]) / self.deviation[:, None, None]
        patches = functional.unfold(pixels, self.patch, stride=self.patch).transpose(1, 2)
        frames = self.linear(patches)
        return make_dense(frames if self.positions is None else frames + self.positions)


class Rows(FrameAdapter):
    """The rows of an image as the frames of a speech network, whose bands are pixels at first, and then learned."""

    def __init__(self, source: str | None, *, backbone: Backbone, size: int | None = None) -> None:
        side = size or IMAGE_SIZE
        super().__init__(backbone, {"size": side}, source=source)
        self.check_length(side, "data.size", "lower it")
        self.preprocess = image_inputs(side)
        self.linear = nn.Linear(side, self.width)
        resize = functional.interpolate(torch.eye(side)[None], self.width, mode="linear")[0]
        with torch.no_grad():
            self.linear.weight.copy_(resize.T * self.scale)
        nn.init.zeros_(self.linear.bias)

    def select_values(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        return inputs.float().mean(dim=1).flatten()[:, None]

    def forward(self, images: Tensor) -> Ragged:
        """Return frames [B, S, width] of uint8 images [B, 3, S, S], from the top row down; colours are averaged."""
        pixels = (images.to(self.mean.dtype).mean(dim=1) - self.mean) / self.deviation
        return make_dense(self.linear(pixels))


class Frames(FrameAdapter):
    """Log-mel frames of speech through a strided linear layer, for a language model.

    ``stride`` frames of 10 ms, of ``bands`` bands each, become one.
    """

    def __init__(
        self,
        bands: AtLeastOne,
        stride: AtLeastOne,
        source: str | None,
        *,
        backbone: Backbone,
        seconds: float | None = None,
    ) -> None:
        length = seconds or SECONDS
        super().__init__(backbone, {"bands": bands, "stride": stride, "size": length}, (bands,), source)
        self.preprocess = speech_inputs(length, bands)
        self.stride = stride
        self.check_length(-(-int(100 * length + 1) // stride), "adapter.stride", LARGER)
        self.convolution = nn.Conv1d(bands, self.width, stride, stride)
        scale_outputs(self.convolution, self.scale)

    def select_values(self, inputs: Inputs) -> Tensor:
        return take_real(inputs).float()

    def forward(self, frames: Ragged) -> Ragged:
        """Return frames [B, ceil(T / stride), width] of log-mel frames [B, T, bands]; the last may be partly empty."""
        values = (frames.values - self.mean) / self.deviation * frames.mask[..., None]
        return convolve(self.convolution, values, frames.lengths)


class Characters(FrameAdapter):
    """The bytes of a text, each with a vector of its own, as the frames of a speech network.

    A convolution makes one frame of ``stride`` bytes with as many before and after them.
    """

    def __init__(
        self,
        stride: AtLeastOne,
        embedding: AtLeastOne,
        source: str | None,
        *,
        backbone: Backbone,
        tokens: int | None = None,
    ) -> None:
        most = tokens or 256
        super().__init__(backbone, {"stride": stride, "embedding": embedding, "size": most}, source=source)
        self.check_length(-(-most // stride), "adapter.stride", LARGER)
        self.preprocess = characters.TextBytes(most)
        self.stride = stride
        self.embedding = nn.Embedding(characters.BYTES, embedding)
        self.convolution = nn.Conv1d(embedding, self.width, 3 * stride, stride, padding=stride)
        scale_outputs(self.convolution, self.scale)

    def fit(self, data: DataModule) -> None:
        """Do nothing: bytes are not standardised."""

    def forward(self, texts: Ragged) -> Ragged:
        """Return frames [B, ceil(T / stride), width] of bytes [B, T]."""
        values = self.embedding(texts.values) * texts.mask[..., None]
        return convolve(self.convolution, values, texts.lengths)


def convolve(convolution: nn.Conv1d, values: Tensor, lengths: Tensor) -> Ragged:
    """Run a convolution whose stride divides its kernel over [B, T, D], padded so that no real frame is left out."""
    stride = convolution.stride[0]
    values = functional.pad(values, (0, 0, 0, -values.shape[1] % stride))
    return Ragged(convolution(values.transpose(1, 2)).transpose(1, 2), (lengths + stride - 1) // stride)


def make_dense(frames: Tensor) -> Ragged:
    """Return frames [B, T, D] that are all real."""
    return Ragged(frames, torch.full(frames.shape[:1], frames.shape[1], device=frames.device))


def image_inputs(side: int) -> Pixels:
    """Return how images are prepared for a network that has no way of its own."""
    return Pixels(side, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
