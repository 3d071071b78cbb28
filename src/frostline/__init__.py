"""Frostline: how much of a pretrained network should be frozen, and what does that cost?"""

import importlib
from typing import Any

__version__ = "0.1.0"

PLACES = {"fit": "frostline.api.fit", "make_plan": "frostline.api.fit"}
"""Where the Python API stands, which is imported when it is first used: the program and its workers start sooner."""


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(PLACES[name]), name)
