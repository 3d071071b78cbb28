"""An input adapter before the network, for data of another modality than the one that it was pretrained on."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch

from frostline.backbones.base import Backbone
from frostline.backbones.changes.apply import Site
from frostline.config.allow import instantiate, locate
from frostline.data.inputs import UNITS, name_adapters
from frostline.data.order import make_seed
from frostline.errors import UserError


def apply(backbone: Backbone, options: Mapping[str, Any], site: Site) -> Backbone:
    """Return the network behind the adapter that the node ``options`` names.

    Raises UserError for one that takes other data than there are, before any of them are read.
    """
    node = {key: value for key, value in options.items() if key != "size"}  # see `find_picture_size`
    own = find_sample_size(node, "adapter", site.data)
    check_modality(node, own, site.data, backbone.preprocess.modality)
    with torch.random.fork_rng(devices=[]):  # its weights depend on the seed alone, and no others on them
        torch.default_generator.manual_seed(make_seed(site.seed, "adapter"))
        backbone.attach(instantiate(node, "adapter", backbone=backbone, **own))
    return backbone


def find_picture_size(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return how large an adapter's pictures are, for a network of images behind it."""
    return {"size": node.get("size")}


def find_sample_size(node: Mapping[str, Any], where: str, samples: Mapping[str, Any]) -> dict[str, Any]:
    """Return how large the samples are, in the unit that a backbone or adapter is built for; None in another one."""
    parameters = signature(locate(node["_target_"], where)).parameters
    return {unit: samples.get(unit) for unit in UNITS if unit in parameters}


def read_sizes(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node says of how large a sample is: pixels a side, tokens at most, or seconds."""
    return {unit: node[unit] for unit in UNITS if unit in node}


def read_modality(node: Mapping[str, Any]) -> str | None:
    """Return the modality that a node's size key implies: image for size, text for tokens, speech for seconds."""
    return next((UNITS[unit] for unit in read_sizes(node)), None)


def check_modality(node: Mapping[str, Any], own: Mapping[str, Any], data: Mapping[str, Any], network: str) -> None:
    """Refuse an adapter whose ``own`` unit is not that of the data.

    Raises UserError that names the adapters from these data to a ``network`` of that modality.
    """
    takes, there = read_modality(own), read_modality(data)
    if takes and there and takes != there:
        name, fitting = node["_target_"].rpartition(".")[2].lower(), name_adapters(there, network)
        raise UserError(f"adapter={name}: it takes {takes} data, and these are {there} data; choose {fitting}.")
