"""One pass of a network over a split: the next batches are read and the last ones written while one is computed."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from typing import NamedTuple

import torch
from torch import Tensor, nn

from frostline.data.inputs import Inputs, map_tensors, take_values
from frostline.features.activations import sort_outputs
from frostline.features.cache import Writer

Batches = Generator[tuple[Tensor, Inputs, bool]]
"""Indices [B], inputs [B, ...], and whether a window ends: within one, batches need not be in order."""


class Computed(NamedTuple):
    """What one pass made at one cut: rows [n, ...], or frames and lengths [n]; seconds a sample, and the samples."""

    rows: Tensor
    lengths: Tensor
    ragged: bool
    seconds: float
    samples: int


class Collector:
    """Takes what comes out at one cut, window by window: to a file, or into memory where there is no ``writer``."""

    def __init__(self, writer: Writer | None):
        self.writer = writer
        self.windows: list[tuple[Tensor, Tensor | None]] = []

    def add(self, outputs: Sequence[Inputs], indices: Sequence[Tensor]) -> None:
        """Take a window's outputs, each of the samples at these indices. Raises OSError when the disk is full."""
        content, lengths = sort_outputs(outputs, indices)
        if self.writer is not None:
            self.writer.append(content.contiguous().flatten().view(torch.uint8).numpy().data)
            content = content[:0]
        self.windows.append((content, lengths))

    def result(self, pace: float, samples: int) -> Computed:
        """Return all that was taken, without its rows where they went to a file."""
        if not self.windows:
            return Computed(torch.empty(0), torch.empty(0, dtype=torch.int64), False, pace, samples)
        lengths = [own for _, own in self.windows if own is not None]
        joined = torch.cat(lengths) if lengths else torch.empty(0, dtype=torch.int64)
        # outside of inference mode, so that autograd takes it
        return Computed(torch.cat([content for content, _ in self.windows]), joined, bool(lengths), pace, samples)


class PendingBatch(NamedTuple):
    """A batch's outputs at all cuts, on their way to the host: there when ``wait`` has returned."""

    indices: Tensor
    outputs: list[Inputs]
    wait: Callable[[], None]


def run_pass(
    network: nn.Module,
    batches: Batches,
    ready: Callable[[Inputs, Tensor], Inputs],
    autocast: Callable[[], AbstractContextManager],
    collectors: Sequence[Collector],
) -> int:
    """Send all batches through a network, each of its outputs to its collector; return how many samples these were.

    ``ready`` is given inputs and the indices of their samples, and returns what the network takes, where that is.
    A thread takes one window while the next one is computed, so at most two are in memory. Whatever goes wrong in the
    network, in reading or in taking is raised as it is, when no thread is left.
    """
    samples, window = 0, list[PendingBatch]()
    taken: Future[None] | None = None
    with ThreadPoolExecutor(1, "frostline-take") as pool, closing(batches):
        for indices, inputs, complete in batches:
            inputs = ready(inputs, indices)
            with torch.inference_mode(), autocast():
                window.append(_send(indices, network(inputs)))
            samples += len(indices)
            if not complete:
                continue
            if taken is not None:
                taken.result()
            taken = pool.submit(_take, window, collectors)
            window = []
        if taken is not None:
            taken.result()
    return samples


def _take(window: Sequence[PendingBatch], collectors: Sequence[Collector]) -> None:
    for sent in window:
        sent.wait()
    for place, collector in enumerate(collectors):
        collector.add([sent.outputs[place] for sent in window], [sent.indices for sent in window])


def _send(indices: Tensor, outputs: Sequence[Inputs]) -> PendingBatch:
    """Send a batch's outputs to the host; from CUDA into pinned memory, behind what computes them, without waiting."""
    sent = [map_tensors(_host, output) for output in outputs]
    device = take_values(outputs[0]).device
    if device.type != "cuda":
        return PendingBatch(indices, sent, lambda: None)
    arrived = torch.cuda.Event(blocking=True)
    arrived.record(torch.cuda.current_stream(device))

    def wait() -> None:
        with torch.cuda.device(device):  # a thread begins with the first GPU, and would make a context there
            arrived.synchronize()

    return PendingBatch(indices, sent, wait)


def _host(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cuda":
        return tensor.to("cpu")
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor, non_blocking=True)
