"""The backbone of images: traced by torch.fx, which finds its cuts."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from frostline.backbones.base import Backbone, Cut, evaluating
from frostline.backbones.groups import has_several_convolutions
from frostline.backbones.traced.measure import measure_cuts
from frostline.backbones.traced.trace import make_part, trace
from frostline.data.inputs import Inputs, Pixels
from frostline.errors import UserError, make_choice_error, read_first_line


class ImageBackbone(Backbone):
    """A network that maps uint8 images [B, 3, S, S] to float features [B, num_features].

    It normalises the images itself (mean and standard deviation are buffers outside the state dict), so what comes
    before it handles bytes only; an adapter makes normalised pictures [B, 3, S, S] of something else.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        name: str,
        groups: dict[str, list[str]],
        preprocess: Pixels,
        *,
        architecture: str | None = None,
        channels_last: bool = False,
        live_statistics: bool = True,
        compile: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        """Give one image to the network to learn its features.

        Raises UserError when it cannot take images of ``preprocess.size`` or does not give one vector an image.
        """
        network = network.to(memory_format=torch.channels_last) if channels_last else network
        settings = {"architecture": architecture, "live_statistics": live_statistics, "compile": compile}
        super().__init__(network, name, groups, preprocess, notes=notes, **settings)  # type: ignore[arg-type]
        self.channels_last = channels_last
        self.picture = preprocess
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (preprocess.mean, preprocess.std))
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)
        self.num_features = self.count_features()

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the features [B, num_features] of uint8 images [B, 3, S, S], or of what the adapter takes."""
        pictures: Tensor = inputs if self.adapter is None else self.adapter(inputs)  # type: ignore[assignment]
        pictures = pictures.contiguous(
            memory_format=torch.channels_last if self.channels_last else torch.contiguous_format
        )
        if self.adapter is None:
            pictures = pictures * self.scale + self.shift
        return self.network(pictures)

    def make_part(self, start: str | None, ends: Sequence[str]) -> nn.Module:
        return make_part(self, trace(self), start, ends)

    def measure(self, size: int) -> list[Cut]:
        return measure_cuts(self, size)

    def count_features(self) -> int:
        size = self.picture.size
        try:
            with evaluating(self), torch.inference_mode():
                features = self(self.example(1, self.preprocess.size))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = read_first_line(error)
            raise UserError(f"data.size: {self.name} cannot take images of {size} pixels ({reason}).") from error
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise UserError(f"backbone.name: {self.name} does not give one feature vector an image; choose another.")
        return features.shape[1]


def resolve_channels_last(setting: bool | str, network: nn.Module) -> bool:
    """Resolve ``backbone.channels_last``: ``auto`` means networks with several convolutions."""
    if setting == "auto":
        return has_several_convolutions(network)
    if not isinstance(setting, bool):
        raise make_choice_error("backbone.channels_last", setting, ["auto", "true", "false"])
    return setting
