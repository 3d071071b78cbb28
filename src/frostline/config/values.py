"""Keys and plain values as they stand in an override."""

import os
import re
from collections.abc import Mapping
from typing import Any

from frostline.config.compose import quote_override
from frostline.errors import UserError

KEY = re.compile(r"(\+\+?|~)?[A-Za-z_][\w./@-]*", re.ASCII)


def check_key(key: Any) -> str:
    """Return a key as it stands in an override. Raises UserError for what is none."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise UserError(f"{key!r} is invalid: expected a key of the config, such as seed or freeze.k.")
    return key


def write_value(value: Any, key: str) -> str:
    """Return a plain value in Hydra's grammar. Raises UserError, naming the ``key``, for any other value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | os.PathLike):
        return quote_override(os.fspath(value))
    if isinstance(value, list | tuple):
        return f"[{','.join(write_value(one, key) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{check_key(name)}:{write_value(one, key)}' for name, one in value.items())}}}"
    raise UserError(f"{key}: {type(value).__name__} is invalid: expected a text, a number, a list, a mapping or None.")
