"""What a judged run gives for the validation samples in its best epoch, by which runs are compared in pairs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from frostline.files.atomic import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

FILE = "validation.safetensors"
NAMES = ("outputs", "label")


def write_validation(folder: Path, found: "Mapping[str, Tensor]") -> None:
    """Write outputs [N, ...] and labels [N, ...] of the validation samples, in their order. Raises OSError."""
    from safetensors.torch import save

    write_atomic(folder / FILE, save({name: found[name].detach().cpu().contiguous() for name in NAMES}))


def read_validation(folder: Path) -> "dict[str, Tensor] | None":
    """Return what ``write_validation`` wrote into a run's folder, or None where there is nothing that can be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(folder / FILE)
    except (OSError, SafetensorError):
        return None
    return found if set(found) == set(NAMES) and len({len(one) for one in found.values()}) == 1 else None
