"""What may stand in a job's batch script: it is a shell's, and a config names no code."""

import re
from collections.abc import Mapping
from typing import Any

from frostline.errors import UserError

WORD = re.compile(r"[A-Za-z0-9_.,:=+*&|()\[\]@/-]+")
"""An option's value: node lists, features and their operators; above all no line's end, after which the shell reads."""

NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
SETUP = re.compile(
    rf"module purge|module (load|unload|swap)( {NAME}(/{NAME})*)+"
    rf"|export (NCCL|TORCH_NCCL|GLOO|UCX|FI|OMP|MKL)_[A-Z0-9_]+=[A-Za-z0-9_.,:=^+-]*"
    rf"|ulimit -[A-Za-z] ([0-9]+|unlimited)"
)
"""Lines that load no code but the cluster's own modules: no path, no variable that names a library or a module."""


def check(options: Mapping[str, Any], setup: list[str]) -> None:
    """Refuse, with a UserError that names the key, what could be more than an option or a line of set-up."""
    for key, value in options.items():
        if isinstance(value, str) and not WORD.fullmatch(value):
            raise UserError(f"launcher.{key}: {value!r} is invalid: expected one word without spaces or quotes.")
        if isinstance(value, int | float) and value <= 0:
            raise UserError(f"launcher.{key}: {value!r} is invalid: expected a number above 0, or null.")
    for line in setup:
        if not SETUP.fullmatch(line):
            raise UserError(
                f"launcher.setup: {line!r} is not allowed; a line is 'module load|unload|swap NAME', 'module purge', "
                "'ulimit -X NUMBER', or an export of NCCL_*, GLOO_*, UCX_*, FI_*, OMP_* or MKL_*; a job has the "
                "variables of the shell that submits it, so set any other there."
            )


def check_gpus(given: int | str | None, needed: int) -> None:
    """Refuse a ``gpus_per_node``, a number or kind:number, that is less than a run takes. Raises UserError."""
    last = str(given).rpartition(":")[2]
    if given is not None and (int(last) if last.isdecimal() else 1) < needed:
        raise UserError(
            f"launcher.gpus_per_node: {given!r} is less than the {needed} GPUs of trainer.devices; leave it null."
        )


def check_path(folder: str) -> None:
    """Refuse an output folder that SLURM could not write to its script, where ``%`` stands for a pattern."""
    if re.search(r"[\x00-\x1f%\\]", folder):
        raise UserError(
            f"outputs: {folder!r} is invalid with launcher=slurm: expected a path with no %, no backslash and no "
            "line's end."
        )
