"""The network of a run: its backbone, behind an adapter where the config names one, and its plan."""

from collections.abc import Mapping
from inspect import signature
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch

from frostline.backbones.adapters.base import none
from frostline.backbones.base import Backbone
from frostline.config.allow import locate
from frostline.config.schema import Run, instantiate
from frostline.data.base import DataModule
from frostline.data.inputs import UNITS, ways
from frostline.errors import UserError
from frostline.freeze.plan import Plan
from frostline.run import own

NOTHING: Mapping[str, Any] = MappingProxyType({})


def network(config: Run, given: Mapping[str, Any] = NOTHING) -> tuple[Backbone, Plan]:
    """Return the backbone and its plan; a plan of a control experiment asks for random weights."""
    backbone = make_backbone(config, pretrained=True, given=given)
    plan = make_plan(config, backbone)
    return (backbone if plan.pretrained else make_backbone(config, pretrained=False, given=given)), plan


def make_backbone(config: Run, pretrained: bool, given: Mapping[str, Any] = NOTHING) -> Backbone:
    """Return the backbone with its pretrained weights, or with random ones that are a function of the seed.

    One for other data than there is is built all the same, for a size of its own; the data set then says what is wrong.
    """
    pl.seed_everything(config.seed, verbose=False)
    adapter, data = dict(config.adapter), config.data
    picture = {"size": adapter.pop("size", None)}  # what an adapter makes of a sample, where it is a picture
    size = sized(config.backbone, "backbone", picture if adapted(config) else data)
    backbone = own.make_backbone(
        config.backbone, config.data, given, lambda key, make: make(), **size, pretrained=pretrained
    )
    if adapted(config):
        there = sized(adapter, "adapter", data)
        check_adapter(adapter, there, data, backbone.preprocess.modality)
        with torch.random.fork_rng(devices=[]):  # an adapter's weights hang on the seed, the head's not on the adapter
            torch.default_generator.manual_seed(config.seed)
            backbone.attach(instantiate(adapter, "adapter", backbone=backbone, **there))
    return backbone


def make_plan(config: Run, backbone: Backbone) -> Plan:
    """Return the plan that the strategy makes from the backbone's groups."""
    return instantiate(config.freeze, "freeze", groups=tuple(backbone.groups), epochs=config.epochs)


def adapted(config: Run) -> bool:
    """Say whether an adapter stands before the backbone."""
    return locate(config.adapter["_target_"], "adapter") is not none


def fit_adapter(backbone: Backbone, data: DataModule) -> None:
    """Let an adapter measure what it must know of the training samples."""
    if backbone.adapter is not None:
        backbone.adapter.fit(data)  # type: ignore[operator]


def sizes(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of how large a sample is: pixels a side, tokens at most, or seconds."""
    return {unit: node[unit] for unit in UNITS if unit in node}


def sized(node: dict[str, Any], where: str, samples: Mapping[str, Any]) -> dict[str, Any]:
    """Return how large the samples are, in the unit that a backbone or adapter is built for; None in another one."""
    parameters = signature(locate(node["_target_"], where)).parameters
    return {unit: samples.get(unit) for unit in UNITS if unit in parameters}


def modality(node: Mapping[str, Any]) -> str | None:
    """Return of which modality samples are whose size is said like this."""
    return next((UNITS[unit] for unit in sizes(node)), None)


def check_adapter(adapter: dict[str, Any], own: Mapping[str, Any], data: Mapping[str, Any], network: str) -> None:
    """Refuse an adapter whose ``own`` unit is not that of the data, before any of them are read.

    Raises UserError that names the adapters from these data to a ``network`` of that modality.
    """
    takes, there = modality(own), modality(data)
    if takes and there and takes != there:
        name = adapter["_target_"].rpartition(".")[2].lower()
        raise UserError(
            f"adapter={name}: it takes {takes} data, and these are {there} data; choose {ways(there, network)}."
        )
