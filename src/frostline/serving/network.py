"""A trained network as one module over plain tensors, and traced: what `frostline export` writes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from frostline.data.inputs import Ragged, list_tensors
from frostline.errors import UserError, read_first_line
from frostline.serving.restored import Restored

TRACED = 3  # samples: a tracer takes 1 for a size that never changes


class Network(nn.Module):
    """From what the data set delivers to the head's outputs: uint8 [N, 3, S, S], or values [N, T, ...] and lengths [N].

    The outputs are [N, width], or those of each frame [N, T, width] and their lengths [N].
    """

    def __init__(self, model: Restored) -> None:
        super().__init__()
        self.body, self.head = model.body, model.head
        self.requires_grad_(False)
        self.eval()

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        outputs = self.head(self.body(inputs if lengths is None else Ragged(inputs, lengths)))
        tensors = list_tensors(outputs)
        return tensors[0] if len(tensors) == 1 else tensors


def trace_network(model: Restored) -> ExportedProgram:
    """Return the network as a graph over any number of samples and, where that may differ, any length up to the run's.

    Raises UserError for a network whose code cannot be followed.
    """
    preprocess = model.backbone.preprocess
    inputs = list_tensors(preprocess.example(TRACED, preprocess.size))
    batch = Dim("batch")
    shapes: list[dict[int, Dim]] = [{0: batch} for _ in inputs]
    if preprocess.any_length:
        shapes[0][1] = Dim("length", max=preprocess.size)
    try:
        with silence_warnings(), torch.no_grad():
            return torch.export.export(Network(model), inputs, dynamic_shapes=tuple(shapes), strict=False)
    except Exception as error:  # the tracer, or the network's own code, may raise anything
        raise make_refusal(model, "torch.export", error) from error


def make_refusal(model: Restored, exporter: str, error: Exception) -> UserError:
    """Return the error for a network that an exporter cannot export."""
    what = f"{exporter} cannot do {model.backbone.name} ({read_first_line(error)})"
    return UserError(f"--format: {what}; choose another format.")


@contextmanager
def silence_warnings() -> Iterator[None]:
    """Hide what exporters warn of, which is meant for their developers: what is written is checked instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
