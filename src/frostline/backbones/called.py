"""What the modules of a network give when they are called: its depths where it cannot be traced."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from frostline.backbones.base import FEATURES, Backbone, Cut, evaluating, find_places, make_dense_cut
from frostline.backbones.flops import count_flops
from frostline.data.inputs import Inputs


class CalledModules(nn.Module):
    """From inputs to what modules of a backbone gave in their last call, named by their paths, and the features."""

    def __init__(self, backbone: Backbone, names: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.names = backbone, list(names)

    def forward(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """Return the values in the order they were named."""
        found: dict[str, Any] = {}

        def keep(name: str) -> Any:
            return lambda module, taken, given: found.__setitem__(name, given)

        with ExitStack() as stack:
            for name in self.names:
                if name != FEATURES:
                    handle = self.backbone.get_submodule(name).register_forward_hook(keep(name))
                    stack.callback(handle.remove)
            found[FEATURES] = self.backbone(inputs)
        return tuple(found[name] for name in self.names)


def find_called(backbone: Backbone, size: int) -> list[Cut]:
    """Return the modules with a number for a name, as in a list of blocks, that give one tensor, in the order they end.

    They can be read, but the network cannot be cut there: what is used up to one is not known, so it counts as all.
    """
    parameters = frozenset(name for name, _ in backbone.named_parameters())
    buffers = frozenset(name for name, _ in backbone.named_buffers())
    found: dict[str, Cut] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, taken: Any, given: Any) -> None:
            if isinstance(given, Tensor) and given.is_floating_point() and given.ndim > 1 and len(given) == 1:
                flops = counter.get_total_flops()
                found.pop(name, None)
                found[name] = make_dense_cut(name, given, flops, parameters, buffers, find_places(given))

        return hook

    with ExitStack() as stack, evaluating(backbone), torch.inference_mode(), count_flops() as counter:
        for name, module in backbone.named_modules():
            if isinstance(module, nn.Conv2d):  # in which dimension the channels are is then seen from where they lie
                stack.callback(module.register_forward_hook(_put_channels_last).remove)
            if name.rpartition(".")[2].isdigit() and any(True for _ in module.parameters()):
                stack.callback(module.register_forward_hook(note(name)).remove)
        backbone(backbone.example(1, size))
    inner = {name.rpartition(".")[0] for name in found}
    return [cut for name, cut in found.items() if not any(one.startswith(f"{name}.") for one in inner)]


def _put_channels_last(module: nn.Module, taken: Any, given: Tensor) -> Tensor:
    return given.contiguous(memory_format=torch.channels_last)
