"""Whether this machine has the devices that a run asks for, and whether they compute as it asks."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frostline.errors import UserError

if TYPE_CHECKING:
    import torch


def check_devices(node: Mapping[str, Any]) -> None:
    """Refuse more GPUs than this machine has. Raises UserError."""
    import torch

    if node.get("accelerator") not in ("gpu", "cuda"):
        return
    wanted, there = node.get("devices", 1), torch.cuda.device_count()
    if there == 0:
        raise UserError("trainer.accelerator: there is no GPU here; trainer=ddp_cpu runs on processors.")
    if wanted > there:
        raise UserError(f"trainer.devices: {wanted} are more than the {there} GPUs that are visible here.")


def check_precision(precision: str, device: str) -> None:
    """Refuse what Lightning would replace without an error. Raises UserError."""
    if precision == "16-mixed" and device == "cpu":
        raise UserError("trainer.precision: 16-mixed takes a GPU; use bf16-mixed or 32-true on processors.")


def read_memory() -> int:
    """Return how many bytes of memory programs can have here: the machine's, or what a control group allows of it."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    root, own = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
    lines = own.read_text().splitlines() if own.exists() else []
    group = root / next((line[len("0::/") :] for line in lines if line.startswith("0::/")), "")
    for folder in (group, *group.parents):  # each one bounds those in it
        limit = folder / "memory.max"
        text = limit.read_text().strip() if folder.is_relative_to(root) and limit.exists() else ""
        found += [int(text)] if text.isdigit() else []
    return min(found)


def free_bytes(device: "torch.device") -> int:
    """Return how much memory of a GPU can still be had: what nobody has, and what torch keeps without using it."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
