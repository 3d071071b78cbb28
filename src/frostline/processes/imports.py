"""Importing Lightning without what it does not need: import this module first in a process that trains.

torchmetrics, which Lightning imports, imports transformers and onnxruntime wherever they are installed, for metrics no
run uses: that takes a second or more, and onnxruntime starts a thread, which a process that is forked must not have.
"""

import importlib
from typing import Any

UNNEEDED = ("transformers", "onnxruntime")


def import_torchmetrics() -> None:
    """Import torchmetrics as where these packages are not installed; others, and later imports, find them."""
    from lightning_utilities.core.imports import RequirementCache

    met = RequirementCache.__bool__

    def is_needed(requirement: Any) -> bool:
        return not str(requirement.requirement).startswith(UNNEEDED) and met(requirement)

    RequirementCache.__bool__ = is_needed  # type: ignore[method-assign]
    try:
        importlib.import_module("torchmetrics")
    finally:
        RequirementCache.__bool__ = met  # type: ignore[method-assign]


import_torchmetrics()
