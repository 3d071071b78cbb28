"""A default stands in YAML and a range in the constructor, neither twice; and YAML names only paths that are there."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

import frostline.data.image.datasets  # noqa: F401 (its options, as below)
import frostline.data.own.datasets  # noqa: F401
import frostline.data.speech.datasets  # noqa: F401
import frostline.data.text.datasets  # noqa: F401
from frostline.config.allow import find_conf_dir, locate
from frostline.config.early import EARLY
from frostline.config.schema import ROOTS, AdviceConfig, Budget, Cache, ComparisonConfig, StudyConfig
from frostline.data.options import Options


def components() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield (group, YAML, what its `_target_` names) of every shipped component of our own."""
    for path in sorted(find_conf_dir().glob("*/*.yaml")):
        node = yaml.safe_load(path.read_text()) or {}
        node = node.get(path.parent.name, node)  # a choice that brings others along says which node is its own
        if str(node.get("_target_")).startswith("frostline."):
            yield path.parent.name, node, locate(node["_target_"], path.parent.name)


def twice(node: dict[str, Any], found: Any) -> list[str]:
    """Return the keys of which both the YAML and the constructor give a default."""
    parameters = inspect.signature(found).parameters
    return [key for key in node if key in parameters and parameters[key].default is not inspect.Parameter.empty]


def test_a_default_of_a_root_or_of_data_sets_stands_in_yaml_alone() -> None:
    for kind in (
        *ROOTS.values(),
        Cache,
        Budget,
        ComparisonConfig,
        StudyConfig,
        AdviceConfig,
        *Options.__subclasses__(),
    ):
        assert all(one.default is one.default_factory is MISSING for one in fields(kind)), kind


def test_a_default_of_a_component_stands_in_yaml_alone() -> None:
    for group, node, found in components():
        assert not twice(node, found), f"{group}: {node['_target_']}"


def hints(found: Any) -> dict[str, Any]:
    return get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)


def without_null(hint: Any) -> Any:
    """Return a hint without the null that a key may be as well."""
    kinds = [one for one in get_args(hint) if one is not type(None)]
    return kinds[0] if type(None) in get_args(hint) and len(kinds) == 1 else hint


def takers(node: str) -> list[Any]:
    """Return what takes the keys of a node."""
    return Options.__subclasses__() if node == "data" else [f for g, _, f in components() if g == node]


@pytest.mark.parametrize("node", sorted(set(EARLY) - {"optimizer"}))
def test_a_range_that_is_checked_early_is_the_constructors_own(node: str) -> None:
    for key, hint in get_type_hints(EARLY[node], include_extras=True).items():
        found = [hints(one)[key] for one in takers(node) if key in hints(one)]
        assert found, f"nothing takes {node}.{key}"
        assert all(without_null(one) is without_null(hint) for one in found), f"{node}.{key}"


@pytest.mark.parametrize(
    "path", sorted(find_conf_dir().rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_paths_in_comments_are_there(path: Path) -> None:
    root = Path(__file__).parents[2]
    for named in re.findall(r"\b(?:src|docs|benchmarks)/[\w/.-]+\w", path.read_text()):
        assert (root / named).is_file(), named
