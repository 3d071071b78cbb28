"""A backbone: a network without its classifier that takes raw images, knows its groups and which of them are frozen."""

from collections.abc import Iterator, Sequence

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from frostline.backbones.weights import fingerprint
from frostline.data.base import Pixels
from frostline.errors import UserError, choices

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class Backbone(nn.Module):
    """A pretrained network that maps uint8 images [B, 3, S, S] to float features [B, num_features].

    It normalises the images itself (mean and standard deviation are buffers outside the state dict), so
    what comes before it handles bytes only. ``groups`` gives every parameter, by its name in
    ``named_parameters()``, to exactly one depth-ordered group. ``notes`` holds what a user should be told.
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
        """Take ``groups`` in the network's own parameter names and give one image to it to learn its features.

        ``live_statistics`` lets BatchNorm train by batch statistics. ``architecture`` identifies the code path
        beyond the weights (for a cache's key). Raises UserError when the network cannot take images of
        ``preprocess.size`` or does not give one vector an image.
        """
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if channels_last else network
        self.name = name
        self.architecture = architecture or name
        self.groups = {group: [f"network.{member}" for member in members] for group, members in groups.items()}
        self.preprocess = preprocess
        self.channels_last = channels_last
        self.live_statistics = live_statistics
        self.compiled = compile
        self.notes = list(notes)
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (preprocess.mean, preprocess.std))
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)
        self._check_groups()
        self._members = list(self._module_groups())
        self.num_features = self._count_features()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features [B, num_features] of uint8 images [B, 3, S, S]."""
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return self.network(inputs * self.scale + self.shift)

    def norms(self) -> set[str]:
        """Return the names of the parameters that normalisation modules own (those that ``norm_only`` trains)."""
        return {
            f"{prefix}.{name}"
            for prefix, module in self.named_modules()
            if isinstance(module, NORMS) or "norm" in type(module).__name__.lower()
            for name, _ in module.named_parameters(recurse=False)
        }

    def fingerprint(self) -> str:
        """Return the SHA-256 of all weights and persistent buffers."""
        return fingerprint(self.state_dict())

    def synchronise(self) -> None:
        """Let a BatchNorm that trains normalise over the samples of all ranks; it needs CUDA devices to do so.

        By timm's conversion: torch's, which Lightning uses, loses the activation of timm's BatchNormAct2d. Done before
        anything else knows the modules: what is replaced later would not be frozen.
        """
        self.network = convert_sync_batchnorm(self.network)
        self._members = list(self._module_groups())

    def freeze_modes(self, frozen: set[str]) -> None:
        """Put the modules of the frozen groups into eval mode; every other module keeps its mode.

        Call it after each ``train()``. A container of frozen and trainable groups, the root first of all, goes
        into eval mode as well: its own functional dropout could otherwise touch the frozen part. Without
        ``live_statistics`` every BatchNorm normalises by its running statistics, and they stay as they are.
        """
        unknown = frozen - set(self.groups)
        assert not unknown, f"not groups of {self.name}: {sorted(unknown)}"
        for module, groups in self._members:
            if groups & frozen or (isinstance(module, _NormBase) and not self.live_statistics):
                module.training = False

    def _module_groups(self) -> Iterator[tuple[nn.Module, set[str]]]:
        """Yield each module with the groups it holds; one without parameters belongs to the group before it."""
        owner = {name: group for group, members in self.groups.items() for name in members}
        last = next(iter(self.groups))
        for prefix, module in self.named_modules():
            own = [owner[f"{prefix}.{name}"] for name, _ in module.named_parameters(recurse=False)]
            held = {owner[f"{prefix}.{name}" if prefix else name] for name, _ in module.named_parameters()}
            last = own[-1] if own else last
            yield module, held or {last}

    def _check_groups(self) -> None:
        names = [name for name, _ in self.named_parameters()]
        grouped = [name for members in self.groups.values() for name in members]
        assert sorted(names) == sorted(grouped), f"{self.name}: groups do not hold each parameter once"

    def _count_features(self) -> int:
        size = self.preprocess.size
        try:
            with evaluating(self), torch.inference_mode():
                features = self(torch.zeros(1, 3, size, size, dtype=torch.uint8))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(f"data.size: {self.name} cannot take images of {size} pixels ({reason}).") from error
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise UserError(f"backbone.name: {self.name} does not give one feature vector an image; choose another.")
        return features.shape[1]


class evaluating:  # noqa: N801 (a context manager, used like a function)
    """Put every module under ``root`` into eval mode for a while, then give each one its own mode back."""

    def __init__(self, root: nn.Module) -> None:
        self.modules = list(root.modules())

    def __enter__(self) -> None:
        self.modes = [module.training for module in self.modules]
        for module in self.modules:
            module.training = False

    def __exit__(self, *exception: object) -> None:
        for module, mode in zip(self.modules, self.modes, strict=True):
            module.training = mode


def several_convolutions(network: nn.Module) -> bool:
    """Tell a convolutional network from a plain transformer, whose one convolution embeds patches."""
    return sum(isinstance(module, nn.Conv2d) for module in network.modules()) > 1


def use_channels_last(setting: bool | str, network: nn.Module) -> bool:
    """Resolve ``backbone.channels_last``: ``auto`` means networks with several convolutions."""
    if setting == "auto":
        return several_convolutions(network)
    if not isinstance(setting, bool):
        raise choices("backbone.channels_last", setting, ["auto", "true", "false"])
    return setting
