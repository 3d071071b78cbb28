"""How long a config becomes when its interpolations are filled in, found out before that is done."""

import re
from collections.abc import Mapping
from typing import Any

from frostline.errors import UserError

MOST = 1_000_000
"""Characters that a resolved config may come to."""
DEEPEST = 50
NODE = re.compile(r"\$\{(\.*)([^\s{}:,'\"$]*)\}")


def check_expansion(config: Mapping[str, Any]) -> None:
    """Refuse an unresolved config whose interpolations, each text doubling the one before, would come to gigabytes.

    Raises UserError that names the first key that does. One that refers to itself is left to OmegaConf, which says so.
    """
    known: dict[str, float] = {}
    for key, value in config.items():
        if _is_deeper(value, DEEPEST):
            raise UserError(f"{key}: it is nested deeper than {DEEPEST} levels; write it with fewer.")
        if _length(config, str(key), known) > MOST:
            raise UserError(f"{key}: its interpolations come to more than {MOST:,} characters; write it out, or less.")


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(levels == 0 or _is_deeper(one, levels - 1) for one in inner)


def _length(config: Mapping[str, Any], key: str, known: dict[str, float]) -> float:
    """Return about how many characters the value at a dotted key comes to."""
    if key not in known:
        known[key] = 0.0  # for one that refers to itself
        known[key] = _sum(config, key, known)
    return known[key]


def _sum(config: Mapping[str, Any], key: str, known: dict[str, float]) -> float:
    value = _look_up(config, key)
    if isinstance(value, dict):
        return 1 + sum(_length(config, f"{key}.{name}", known) for name in value)
    if isinstance(value, list):
        return 1 + sum(_length(config, f"{key}[{index}]", known) for index in range(len(value)))
    if not isinstance(value, str):
        return 1
    return 1 + len(value) + sum(_length(config, _absolute(key, *found), known) for found in NODE.findall(value))


def _absolute(key: str, dots: str, path: str) -> str:
    """Return the dotted key that an interpolation at ``key`` leads to."""
    if not dots:
        return path
    parents = [part for part in re.split(r"\.|(?=\[)", key) if part]
    above = ".".join(parents[: len(parents) - len(dots)]).replace(".[", "[")
    return f"{above}.{path}" if above and path else above or path


def _look_up(config: Any, key: str) -> Any:
    """Return the value at a dotted key; that of an interpolation on the way; None where there is none."""
    for part in (one for one in re.split(r"\.|\[|\]", key) if one):
        if isinstance(config, str):
            return config
        try:
            config = config[int(part) if isinstance(config, list) else part]
        except (KeyError, ValueError, IndexError, TypeError):
            return None
    return config
