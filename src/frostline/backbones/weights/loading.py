"""Weights from files: read without executing anything, loaded strictly, identified by a hash."""

import hashlib
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import torch
from torch import Tensor, nn

from frostline.backbones.weights.reading import KEY, read_file
from frostline.backbones.weights.wrappers import (
    Convert,
    belongs_to,
    choose_reading,
    find_misfit,
    list_readings,
)
from frostline.errors import UserError
from frostline.units import join_names


def choose_weights(weights: str | None, pretrained: bool) -> str | None:
    """Return what to load: ``None`` for random weights, which a strategy can ask for as well."""
    return None if not pretrained or weights in (None, "none") else str(weights)


def find_weights_file(weights: str, allowed: Sequence[str]) -> str:
    """Tell a file from a misspelt word."""
    if "." not in weights and "/" not in weights:
        raise UserError(f"{KEY}: {weights!r} is not known; choose a file or one of: {', '.join(allowed)}.")
    return weights


def load_weights(network: nn.Module, path: str | Path, classifier: Sequence[str], change: Convert = dict) -> list[str]:
    """Load a file into ``network``, whatever its training wrapped the weights in; return notes on how it was read.

    ``change`` gives the tensors of another layout this network's names and shapes. Raises UserError for what cannot be
    read (`reading.read_file`), and unless exactly one way to read it fits the network strictly.
    """
    expected = network.state_dict()
    ways = list_readings(read_file(path), len(expected))
    state, notes = choose_reading(path, ways, expected, classifier, change)
    return [*notes, *load_strict(network, state, classifier)]


def load_strict(network: nn.Module, state: Mapping[str, Tensor], classifier: Sequence[str]) -> list[str]:
    """Load ``state`` into ``network``, every tensor of both; return notes on what was left out.

    Only modules named in ``classifier``, which the network itself no longer has, are left out. Raises UserError with
    both lists, missing and unexpected, and with the shapes that differ, and for NaN and infinite numbers; then nothing
    is loaded.
    """
    expected = network.state_dict()
    if len(off := find_misfit(expected, state, classifier)):
        raise UserError(f"{KEY}: these are not this network's weights ({off}); give weights of this very network.")
    left_out = [name for name in state if name not in expected and belongs_to(name, classifier)]
    given = {name: value for name, value in state.items() if name not in left_out}
    check_finite(given, {name for name, _ in network.named_buffers()})
    network.load_state_dict(given, strict=True)
    return _notes(state, left_out)


def check_finite(tensors: Mapping[str, Tensor], buffers: Set[str], where: str = KEY) -> None:
    """Refuse weights that are no numbers. Raises UserError that names the tensors, and ``where`` they are from.

    Of ``buffers`` a mask that is added to attention may hold 0 and -inf, and nothing else.
    """
    broken = [name for name, value in tensors.items() if not is_finite(value, name in buffers)]
    if broken:
        raise UserError(
            f"{where}: NaN or infinite numbers stand in {join_names(broken)}; get these weights again, or earlier "
            "ones of their training."
        )


def is_finite(tensor: Tensor, is_buffer: bool = False) -> bool:
    """Return whether all of a tensor is finite, or it is a buffer of nothing but 0 and -inf, as masks are."""
    if not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    values = values.float() if values.element_size() == 1 else values  # of float8 torch finds no extremes
    low, high = torch.aminmax(values.detach())  # takes no memory; NaN comes through
    if torch.isfinite(low) and torch.isfinite(high):
        return True
    return is_buffer and bool(((values == 0) | (values == -torch.inf)).all())


def _notes(state: Mapping[str, Tensor], left_out: Sequence[str]) -> list[str]:
    if not left_out:
        return []
    classes = max(state[name].shape[0] for name in left_out if state[name].ndim)
    return [f"left out the classifier of {classes} classes: {', '.join(left_out)}"]


def rename_by_order(state: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give ``state`` the names of ``reference`` where both list the same shapes in the same order, else as it is."""
    shapes = [value.shape for value in state.values()]
    if state.keys() == reference.keys() or shapes != [value.shape for value in reference.values()]:
        return dict(state)
    return dict(zip(reference, state.values(), strict=True))


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes, independent of order and memory layout."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
