"""Files of weights of a small network, for tests that read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from frostline.backbones.weights.loading import fingerprint, load_weights


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4))


def state(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return network().state_dict()


def write(path: Path, content: Mapping[str, Any]) -> Path:
    save_file(dict(content), path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


def loaded(path: Path) -> tuple[str, list[str]]:
    """Load a file; return the fingerprint of what was loaded, and the notes."""
    target = network()
    notes = load_weights(target, path, [])
    return fingerprint(target.state_dict()), notes


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}
