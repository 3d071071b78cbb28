"""Weights from files: read without executing anything, loaded strictly, identified by a hash."""

import hashlib
import pickle
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from frostline.errors import UserError

KEY = "backbone.weights"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WRAPPERS = ("state_dict", "model", "model_state")
SHOWN = 10


def chosen_weights(weights: str | None, pretrained: bool) -> str | None:
    """Return what to load: ``None`` for random weights, which a strategy can ask for as well."""
    return None if not pretrained or weights in (None, "none") else str(weights)


def weights_file(weights: str, allowed: Sequence[str]) -> str:
    """Tell a file from a misspelt word."""
    if "." not in weights and "/" not in weights:
        raise UserError(f"{KEY}: {weights!r} is not known; choose a file or one of: {', '.join(allowed)}.")
    return weights


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the named tensors of a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file, on the CPU.

    Wrappers (``state_dict``, ``model``) and a common ``module.`` prefix are taken off. Nothing in the file is
    ever executed. Raises UserError for a URL, a missing or damaged file, a pickle with code in it, and a
    file that holds something else than named tensors.
    """
    if "://" in str(path):
        raise UserError(f"{KEY}: {path} is a URL; download it and give the file.")
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise UserError(f"{KEY}: {path} is not a weights file; give one that ends in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise UserError(f"{KEY}: there is no file {path}; give an existing weights file.")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    return _unwrap(path, state)


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{KEY}: {path} is not a whole safetensors file ({error}); get it again.") from error


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{KEY}: {path} is damaged or holds more than tensors, and nothing in it was executed; "
            "give a file of tensors only, best a .safetensors file."
        ) from error
    except Exception as error:  # a damaged file can make the unpickler raise nearly anything
        raise UserError(f"{KEY}: {path} is damaged ({type(error).__name__}); get it again.") from error


def _unwrap(path: Path, state: object) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
            break
    if not isinstance(state, dict) or not state:
        raise UserError(f"{KEY}: {path} holds no named tensors; give a state dict.")
    odd = [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if odd:
        raise UserError(f"{KEY}: {path} holds entries that are no tensors ({_listed(odd)}); give a state dict.")
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return dict(state)


def load_strict(network: nn.Module, state: Mapping[str, Tensor], classifier: Sequence[str]) -> list[str]:
    """Load ``state`` into ``network``, every tensor of both; return notes on what was left out.

    Only modules named in ``classifier``, which the network itself no longer has, are left out. Raises
    UserError with both lists, missing and unexpected, and with the shapes that differ; then nothing is loaded.
    """
    expected = network.state_dict()
    left_out = [name for name in state if name not in expected and _under(name, classifier)]
    given = {name: value for name, value in state.items() if name not in left_out}
    # torch itself starts this counter at 0 where a file is older than the counter
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in expected]
    shapes = [
        f"{name} {list(value.shape)} instead of {list(expected[name].shape)}"
        for name, value in given.items()
        if name in expected and value.shape != expected[name].shape
    ]
    if missing or unexpected or shapes:
        misfit = f"missing: {_listed(missing)}; unexpected: {_listed(unexpected)}"
        misfit += f"; of another shape: {_listed(shapes)}" if shapes else ""
        raise UserError(f"{KEY}: these are not this network's weights ({misfit}); give weights of this very network.")
    network.load_state_dict(given, strict=True)
    return _notes(state, left_out)


def _under(name: str, modules: Iterable[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _notes(state: Mapping[str, Tensor], left_out: Sequence[str]) -> list[str]:
    if not left_out:
        return []
    classes = max(state[name].shape[0] for name in left_out if state[name].ndim)
    return [f"left out the classifier of {classes} classes: {', '.join(left_out)}"]


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(str(name) for name in names[:SHOWN]) or "none"
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def renamed_by_order(state: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
