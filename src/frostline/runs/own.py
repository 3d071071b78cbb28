"""What a run is about where the user's own code, or an object of the user's own, stands in a config's place."""

from collections.abc import Callable, Collection, Mapping
from functools import cache
from inspect import Parameter, signature
from types import MappingProxyType
from typing import Any

import yaml
from torch import nn

from frostline.backbones.base import Backbone
from frostline.backbones.own.network import OwnNetwork
from frostline.config.allow import find_conf_dir, instantiate, is_own, locate
from frostline.config.signature import make_key_error
from frostline.data.base import DataModule
from frostline.data.inputs import UNITS
from frostline.data.options import OF_RUNS
from frostline.data.own.datasets import as_data
from frostline.data.own.sources import OwnData, as_own_data
from frostline.errors import UserError

Node = Mapping[str, Any]
Share = Callable[[Any, Callable[[], Any]], Any]
"""What makes a thing once for each key (`Builder.share`)."""


def make_backbone(node: Node, data: Node, given: Mapping[str, Any], share: Share, **run: Any) -> Backbone:
    """Return the backbone of a node, or of an object that is ``given`` in its place.

    A function of the user's own may return any module; where nothing says what its samples are like, the ``data`` node
    does. ``run`` are a builder's arguments that come from the rest of the config. Raises UserError.
    """
    if "backbone" in given:
        return instantiate(node, "backbone", found=given["backbone"], **run)
    if not is_own(str(node["_target_"])):
        return instantiate(node, "backbone", **run)
    from frostline.backbones.own.backbone import as_backbone  # which takes timm, and texts and sounds do without

    takes = list_parameters(node, "backbone")
    found, rest = call_target(node, "backbone", run)
    random = not run["pretrained"] and "pretrained" not in takes
    if isinstance(found, Backbone) and random:
        raise UserError(
            f"backbone: {node['_target_']} has no argument pretrained, and this strategy asks for random weights; add "
            "it, or choose another strategy."
        )
    if not isinstance(found, Backbone | OwnNetwork | nn.Module):
        raise UserError(f"backbone: {node['_target_']} returns a {type(found).__name__}; expected a torch.nn.Module.")
    said = {**read_own_keys("backbone"), **rest, **describe_samples(found, rest, data, share)}
    return as_backbone(found, **said, pretrained=not random)


def describe_samples(found: object, rest: Node, data: Node, share: Share) -> dict[str, Any]:
    """Return shape and dtype of the data's samples where neither a network nor its node says what it takes."""
    said = isinstance(found, Backbone) or rest.get("shape") or (isinstance(found, OwnNetwork) and found.shape)
    if said or not is_own(str(data["_target_"])) or set(OF_RUNS) & set(list_parameters(data, "data")):
        return {}
    source = share_data(data, share)
    return {} if isinstance(source, DataModule) else source.samples_kind({**read_own_keys("data"), **data}["memory_gb"])


def make_data(node: Node, given: Mapping[str, Any], share: Share, **run: Any) -> DataModule:
    """Return the data of a node, or of an object that is ``given`` in its place.

    A function of the user's own may return what `as_own_data` takes. ``run`` are the arguments that come from the
    rest of the config. Raises UserError.
    """
    if "data" in given:
        return instantiate(node, "data", found=given["data"], **run)
    takes = list_parameters(node, "data")
    if not is_own(str(node["_target_"])):
        return instantiate(node, "data", **{key: value for key, value in run.items() if key in takes})
    if set(OF_RUNS) & set(takes):  # it prepares its samples by itself, for this very run
        found, rest = call_target(node, "data", run)
    else:
        found, (_, rest) = share_data(node, share), split_keys(node, takes)
    return as_data(found, **{**read_own_keys("data"), **rest}, **run)


def share_data(node: Node, share: Share) -> OwnData | DataModule:
    """Return the data that a function of the user's own makes, read once for all that share it."""

    def read() -> OwnData | DataModule:
        found, _ = call_target(node, "data", {})
        return found if isinstance(found, DataModule) else as_own_data(found)

    return share(["own data", dict(node)], read)


def call_target(node: Node, where: str, run: Node) -> tuple[Any, dict[str, Any]]:
    """Call a node's target with the keys, and the arguments ``run``, that it takes; return the result and other keys.

    Raises UserError for one of these that no network or data of the user's own has.
    """
    takes, known = list_parameters(node, where), read_own_keys(where)
    mine, rest = split_keys(node, takes)
    for key in rest:
        if key not in known:
            raise make_key_error(f"{where}.{key}", [*takes, *known])
    arguments = {key: value for key, value in run.items() if key in takes}
    return instantiate({"_target_": node["_target_"], **mine}, where, **arguments), rest


def split_keys(node: Node, takes: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keys of a node that its target takes, and the others."""
    keys = {key: value for key, value in node.items() if key != "_target_"}
    mine = {key: value for key, value in keys.items() if key in takes}
    return mine, {key: value for key, value in keys.items() if key not in takes}


def list_parameters(node: Node, where: str) -> list[str]:
    """Return the names of the arguments that a node's target takes: all of the node's, where it takes ``**more``."""
    found = signature(locate(str(node["_target_"]), where)).parameters
    if any(one.kind is Parameter.VAR_KEYWORD for one in found.values()):
        return [*dict.fromkeys([*found, *node, *OF_RUNS, "pretrained", *UNITS])]
    return list(found)


@cache
def read_own_keys(where: str) -> Mapping[str, Any]:
    """Return the keys of a network or of data of the user's own as their YAML has them.

    A YAML of the user's, in place of it, need not give them.
    """
    node = yaml.safe_load((find_conf_dir() / where / "own.yaml").read_text())
    return MappingProxyType({key: value for key, value in node.items() if key not in ("_target_", "defaults")})
