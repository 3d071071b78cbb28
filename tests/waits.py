"""Modules on a GPU that is not there, and what in a step would make the processor wait for it.

Under torch's fake tensors a tensor has a shape and a device, but no values. So an operation on two devices raises, and
so does every look at a value that lies on the GPU; what is left are copies, which are counted here.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from frostline.data.inputs import Inputs, Ragged

GPU = torch.device("cuda", 0)
aten = torch.ops.aten


class Waits(TorchDispatchMode):
    """Lists the copies between a processor and its GPU that nobody asked to be asynchronous, with the line of each."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def take(self) -> list[str]:
        """Return what was found since this was asked last."""
        found, self.found = self.found, []
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if "ctc_loss" in str(func):  # torch has no fake of it, nor of whether another library is to do it
            return func.overloadpacket is aten._ctc_loss and _ctc(*args)
        if func is aten._pin_memory.default:  # nor of pinned memory
            return args[0]
        made = func(*args, **given)
        asynchronous = given.get("non_blocking", False)
        if func is aten._to_copy.default and made.device != args[0].device and not asynchronous:
            self.found.append(f"{args[0].device} to {made.device}{_line()}")
        elif func is aten.copy_.default and args[0].device != args[1].device and not asynchronous:
            self.found.append(f"{args[1].device} to {args[0].device}{_line()}")
        elif func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
            places = [place for place in args[1] if place is not None]
            if any(place.device != args[0].device for place in places):
                self.found.append(f"an index on another device{_line()}")
            if len(args) > 2 and args[2].numel() != 1 and any(place.dtype == torch.bool for place in places):
                self.found.append(f"a mask that is written by{_line()}")
        return made


def _ctc(values_TBV: Tensor, labels_BL: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    """Return tensors like torch's own loss and what it keeps for the backward pass."""
    assert values_TBV.device == labels_BL.device
    steps, batch = values_TBV.shape[:2]
    return values_TBV.new_empty(batch), values_TBV.new_empty(batch, steps, 2 * labels_BL.shape[1] + 1)


def _line() -> str:
    """Return where in our code, or in a library that it called, an operation came from."""
    frames = [frame for frame in traceback.extract_stack() if "/torch/" not in frame.filename][:-2]
    return "".join(f", {frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-3:])


@contextmanager
def on_gpu(*modules: nn.Module) -> Iterator[Waits]:
    """Let modules lie on a GPU that is not there, for good, and yield what counts the waits for it.

    cuDNN is left out: whether it can be used is asked of a driver.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), torch.backends.cudnn.flags(enabled=False), Waits() as waits:
        for module in modules:
            for part in module.modules():
                for name, value in part._parameters.items():
                    if value is not None:
                        part._parameters[name] = nn.Parameter(like(value), requires_grad=value.requires_grad)
                for name, value in part._buffers.items():
                    if value is not None:
                        part._buffers[name] = like(value)
        yield waits


@contextmanager
def mixed(dtype: torch.dtype | None) -> Iterator[None]:
    """Compute as autocast does on a GPU, whether or not there is one; None: as without it."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", dtype is not None)
    torch.set_autocast_dtype("cuda", dtype or before[1])
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
        torch.clear_autocast_cache()


def like(value: Tensor) -> Tensor:
    """Return a tensor on the GPU that is like one of here."""
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=GPU)


def inputs_like(inputs: Inputs) -> Inputs:
    """Return inputs on the GPU that are like some of here."""
    return Ragged(*map(like, inputs)) if isinstance(inputs, Ragged) else like(inputs)
