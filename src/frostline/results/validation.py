"""What a judged run gives for the validation samples in its best epoch, by which runs are compared in pairs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from frostline.files.atomic import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

FILE = "validation.safetensors"
NAMES = ("outputs", "label", "parts")


class Parts(NamedTuple):
    """What a score is made of (`frostline.tasks.judge.Judged`): each sample's own where it is a mean of them, else the
    score without each of the groups of samples."""

    values: np.ndarray
    is_mean: bool


def write_validation(folder: Path, found: "Mapping[str, Tensor]", is_mean: bool) -> None:
    """Write outputs [N, ...] and labels [N, ...] of the validation samples in their order, and their score's parts.

    Raises OSError.
    """
    from safetensors.torch import save

    tensors = {name: found[name].detach().cpu().contiguous() for name in NAMES}
    write_atomic(folder / FILE, save(tensors, {"is_mean": str(is_mean)}))


def read_validation(folder: Path) -> "dict[str, Tensor] | None":
    """Return what ``write_validation`` wrote into a run's folder, or None where there is nothing that can be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(folder / FILE)
    except (OSError, SafetensorError):
        return None
    return found if set(found) == set(NAMES) and len(found["outputs"]) == len(found["label"]) else None


def read_parts(folder: Path) -> Parts | None:
    """Return the parts alone, without torch; None where there is nothing that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / FILE, framework="numpy") as file:
            return Parts(file.get_tensor("parts"), (file.metadata() or {}).get("is_mean") == "True")
    except (OSError, SafetensorError):
        return None
