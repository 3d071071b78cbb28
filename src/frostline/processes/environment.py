"""The environment variables of this process: all of them replaced, or some put back."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def replace_environment(variables: Mapping[str, str]) -> None:
    """Let this process have these variables and no others."""
    os.environ.clear()
    os.environ.update(variables)


@contextmanager
def restoring_variables(*names: str) -> Iterator[None]:
    """Put variables back as they were, those that were not set included; the others are left alone."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def restoring_environment() -> Iterator[None]:
    """Put all variables back as they were."""
    before = dict(os.environ)
    try:
        yield
    finally:
        replace_environment(before)
