"""What tests make by the defaults of conf/: a run's config, components, and plans."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from inspect import Parameter, signature
from typing import Any

import yaml

from frostline.config.allow import find_conf_dir, instantiate, locate
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.data.index import DataIndex
from frostline.freeze.plan import Plan

SHARED = ("_image", "_text", "_audio", "_published")
"""The YAMLs of keys that data sets share."""


def plain_run(**values: Any) -> Run:
    """Return the config of a run by defaults, with ``values`` in place of those of its root."""
    return replace(deepcopy(compose_defaults()), **values)


@cache
def compose_defaults() -> Run:
    """Return the config of a run by defaults, composed once: for others to copy."""
    return resolve(compose("run", []))


def read_node(choice: str) -> dict[str, Any]:
    """Return the keys that a YAML, given as GROUP/NAME, has for its group, with those that it shares with others."""
    group = choice.partition("/")[0]
    node = yaml.safe_load((find_conf_dir() / f"{choice}.yaml").read_text())
    shared = [read_node(f"{group}/{one}") for one in node.pop("defaults", []) if one in SHARED]
    own = node.get(group, node)  # one that brings others along says which node is its own
    return {key: value for keys in (*shared, own) for key, value in keys.items()}


def make(choice: str, **values: Any) -> Any:
    """Make a component by its YAML, given as GROUP/NAME, with ``values`` in place of its own and what a run adds.

    A picture's size, which stands in an adapter's YAML for the builder of the backbone, is left out.
    """
    group = choice.partition("/")[0]
    node = read_node(choice)
    given = {key: values.pop(key) for key in list(values) if key in node}
    takes = signature(locate(node["_target_"], group)).parameters
    rest = any(one.kind is Parameter.VAR_KEYWORD for one in takes.values())
    own = {key: one for key, one in node.items() if rest or key in ("_target_", *takes)}
    if group == "data":
        run = {"augment": None, "task": make("task/multiclass"), "seed": 0, "index": DataIndex()}
        values = {**run, **values}
    return instantiate({**own, **given}, group, **values)


def make_plan(name: str, groups: Sequence[str], epochs: int, **options: Any) -> Plan:
    """Return the plan of a strategy by its YAML, with ``options`` in place of its own, which it alone looks at."""
    node = read_node(f"freeze/{name}")
    return locate(node.pop("_target_"), "freeze")(groups, epochs, **{**node, **options})
