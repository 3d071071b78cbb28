"""What tests make by the defaults of conf/: a run's config, and components."""

from dataclasses import replace
from inspect import signature
from typing import Any

import yaml

from frostline.config.allow import find_conf_dir, instantiate, locate
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run


def plain_run(**values: Any) -> Run:
    """Return the config of a run by defaults, with ``values`` in place of those of its root."""
    return replace(resolve(compose("run", [])), **values)


def make(choice: str, **values: Any) -> Any:
    """Make a component by its YAML, given as GROUP/NAME, with ``values`` in place of its own and what a run adds.

    A picture's size, which stands in an adapter's YAML for the builder of the backbone, is left out.
    """
    group = choice.partition("/")[0]
    node = yaml.safe_load((find_conf_dir() / f"{choice}.yaml").read_text())
    given = {key: values.pop(key) for key in list(values) if key in node}
    takes = {"_target_", *signature(locate(node["_target_"], group)).parameters}
    own = {key: one for key, one in node.items() if key in takes}
    return instantiate({**own, **given}, group, **values)
