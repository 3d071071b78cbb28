"""A run's config with the defaults of conf/, for tests that need one without composing overrides."""

from dataclasses import replace
from typing import Any

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run


def plain_run(**values: Any) -> Run:
    """Return the config of a run by defaults, with ``values`` in place of those of its root."""
    return replace(resolve(compose("run", [])), **values)
