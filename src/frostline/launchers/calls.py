"""Calls of functions in other processes: what goes in and comes out is plain, and the function goes by its name."""

import importlib
from collections.abc import Callable
from typing import Any


def name_of(function: Callable[..., Any]) -> str:
    """Return the name, with its module, by which another process finds a top-level function."""
    return f"{function.__module__}.{function.__qualname__}"


def call_by_name(name: str, *arguments: Any) -> Any:
    """Call a function named as ``name_of`` does; only the process that calls it imports its module."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)(*arguments)
