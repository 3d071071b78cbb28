"""Adapters that make pictures for image networks: sounds as spectrograms, texts as they are printed."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from frostline.backbones.adapters.base import SECONDS, Adapter, speech_inputs
from frostline.backbones.base import Backbone
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.data.inputs import Inputs, Ragged
from frostline.data.text.rendering import Rendered
from frostline.errors import UserError
from frostline.ranges import AtLeastOne

PATCH = 8
"""Pixels a side of the pieces of a picture whose distribution is aligned."""


class PictureAdapter(Adapter):
    """What all adapters before an image network have: they deliver pictures [B, 3, S, S] of mean 0 and deviation 1.

    One channel becomes three by a 1x1 convolution, which repeats it at first.
    """

    def __init__(self, backbone: Backbone, settings: dict[str, Any]) -> None:
        name = type(self).__name__.lower()
        if not isinstance(backbone, ImageBackbone):
            raise UserError(
                f"adapter={name}: it makes pictures for an image network, and {backbone.name} takes sequences; choose "
                "adapter=frames for sounds, adapter=characters for texts, or adapter=patches or rows for images."
            )
        super().__init__({**settings, "picture": backbone.picture.size})
        self.side = backbone.picture.size
        self.channels = nn.Conv2d(1, 3, 1)
        nn.init.ones_(self.channels.weight)
        assert self.channels.bias is not None
        nn.init.zeros_(self.channels.bias)
        self.look = backbone.picture

    def own_features(self) -> Tensor:
        """Return pieces [N, 3 * 8 * 8] of the two photographs that come with scikit-learn, as the network sees them."""
        from sklearn.datasets import load_sample_images

        photographs = torch.stack([torch.tensor(image) for image in load_sample_images().images])
        pixels = photographs.permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(value).view(3, 1, 1) for value in (self.look.mean, self.look.std))
        factor = self.side / pixels.shape[-2]
        pictures = functional.interpolate((pixels - mean) / std, scale_factor=factor, mode="bilinear", antialias=True)
        return self.vectors(pictures).to(self.mean.device)

    def vectors(self, outputs: Inputs) -> Tensor:
        """Return the pieces [N, 3 * 8 * 8] of a batch of pictures."""
        assert isinstance(outputs, Tensor)
        return functional.unfold(outputs, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)


class Spectrogram(PictureAdapter):
    """A log-mel spectrogram as a picture: time to the right, low bands on top, silence after the end as the mean.

    After the Audio Spectrogram Transformer (Gong et al. 2021, arXiv 2104.01778): one channel in place of three, mean
    and deviation of the data set; a network with position embeddings is built for the picture's size, and its builder
    resamples them.
    """

    def __init__(self, bands: AtLeastOne, *, backbone: Backbone, seconds: float | None = None) -> None:
        length = seconds or SECONDS
        super().__init__(backbone, {"bands": bands, "size": length})
        self.preprocess = speech_inputs(length, bands)

    def forward(self, frames: Ragged) -> Tensor:
        """Return pictures [B, 3, S, S] of log-mel frames [B, T, bands]; all are given the room of the longest."""
        values = (frames.values - self.mean) / self.deviation * frames.mask[..., None]
        whole = self.preprocess.frames(torch.tensor(self.preprocess.size))  # type: ignore[attr-defined]
        values = functional.pad(values, (0, 0, 0, max(0, int(whole) - values.shape[1])))
        picture = values.transpose(1, 2)[:, None]
        return self.channels(functional.interpolate(picture, (self.side, self.side), mode="bilinear", antialias=True))


class Rendering(PictureAdapter):
    """A text as a picture of its words, in letters of ``font`` pixels (see :mod:`frostline.data.text.rendering`).

    The picture has room for as many ``tokens`` as fit on it.
    """

    def __init__(self, font: AtLeastOne, *, backbone: Backbone, tokens: int | None = None) -> None:
        super().__init__(backbone, {"font": font})
        if font < 4 or font > self.side:
            raise UserError(f"adapter.font: {font} pixels are no size for letters; choose from 4 to {self.side}.")
        self.preprocess = Rendered(self.side, font)

    def select_values(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        return inputs[:, 0].float().flatten()[:, None]

    def forward(self, pictures: Tensor) -> Tensor:
        """Return pictures [B, 3, S, S] of uint8 ones, whose three channels are alike."""
        grey = pictures[:, :1].to(self.mean.dtype)
        return self.channels((grey - self.mean) / self.deviation)
