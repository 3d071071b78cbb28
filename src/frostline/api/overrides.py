"""From keyword arguments to overrides, and the allow-list while a call lasts."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frostline.config.allow import VARIABLE, allow
from frostline.config.values import check_key, write_value
from frostline.errors import UserError
from frostline.processes.environment import restoring_variables


def make_overrides(
    overrides: Sequence[str], keywords: Mapping[str, Any], node: str | None = None, keys: Sequence[str] = ()
) -> list[str]:
    """Return overrides as texts, then keyword arguments as overrides.

    A keyword's value is never read as Hydra's grammar: ``"a,b"`` is a text and no sweep. A mapping sets keys below the
    keyword (``freeze={"k": 2}`` is ``freeze.k=2``). Of ``keys`` the node ``node`` may be left out (``seeds=[0]`` for
    ``compare.seeds=[0]``). Raises UserError for what is no override, no key and no plain value.
    """
    for one in overrides:
        if not isinstance(one, str):
            raise UserError(f"{one!r} is invalid: expected an override as a text, such as 'data=digits'.")
    found = list(overrides)
    for key, value in keywords.items():
        full = f"{node}.{key}" if key in keys else key
        if isinstance(value, Mapping):
            pairs = {f"{full}.{name}": inner for name, inner in value.items()}
        else:
            pairs = {full: value}
        found += [f"{check_key(name)}={write_value(inner, name)}" for name, inner in pairs.items()]
    return found


@contextmanager
def allowing_modules(modules: str | Sequence[str]) -> Iterator[None]:
    """Let configs name what is in these modules, and in no other of one's own, while a call lasts."""
    with restoring_variables(VARIABLE):
        allow([modules] if isinstance(modules, str) else list(modules))
        yield


def as_path(folder: str | os.PathLike[str] | None) -> Path | None:
    """Return a folder as a path."""
    return None if folder is None else Path(folder)


def write_command(
    name: str, overrides: Sequence[str], config_dir: str | os.PathLike[str] | None, allowed: Sequence[str]
) -> str:
    """Return the command line that does the same."""
    flags = ["--config-dir", os.fspath(config_dir)] if config_dir is not None else []
    return shlex.join(["frostline", name, *overrides, *flags, *(f"--allow={module}" for module in allowed)])
