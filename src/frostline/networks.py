"""The network of a run: its backbone, behind an adapter where the config names one, and its plan."""

from typing import Any, get_args, get_type_hints

import pytorch_lightning as pl
import torch

from frostline.allow import locate
from frostline.backbones.adapters import check_way, none
from frostline.backbones.base import Backbone
from frostline.data.base import DataModule
from frostline.freeze.plan import Plan
from frostline.schema import instantiate

SIZES = ("size", "tokens", "seconds")


def network(config: dict[str, Any]) -> tuple[Backbone, Plan]:
    """Return the backbone and its plan; a plan of a control experiment asks for random weights."""
    backbone = make_backbone(config, pretrained=True)
    plan = make_plan(config, backbone)
    return (backbone if plan.pretrained else make_backbone(config, pretrained=False)), plan


def make_backbone(config: dict[str, Any], pretrained: bool) -> Backbone:
    """Return the backbone with its pretrained weights, or with random ones that are a function of the seed."""
    pl.seed_everything(config["seed"], verbose=False)
    size = config["adapter"].get("size") if adapted(config) else fitting_size(config)
    backbone = instantiate(config["backbone"], "backbone", size=size, pretrained=pretrained)
    if adapted(config):
        adapter, data = (locate(config[key]["_target_"], key) for key in ("adapter", "data"))
        check_way(adapter, data, backbone)
        with torch.random.fork_rng(devices=[]):  # an adapter's weights hang on the seed, the head's not on the adapter
            torch.default_generator.manual_seed(config["seed"])
            backbone.attach(
                instantiate(config["adapter"], "adapter", backbone=backbone, size=sample_size(config["data"]))
            )
    return backbone


def make_plan(config: dict[str, Any], backbone: Backbone) -> Plan:
    """Return the plan that the strategy makes from the backbone's groups."""
    return instantiate(config["freeze"], "freeze", groups=tuple(backbone.groups), epochs=config["epochs"])


def adapted(config: dict[str, Any]) -> bool:
    """Say whether an adapter stands before the backbone."""
    return locate(config["adapter"]["_target_"], "adapter") is not none


def fit_adapter(backbone: Backbone, data: DataModule) -> None:
    """Let an adapter measure what it must know of the training samples."""
    if backbone.adapter is not None:
        backbone.adapter.fit(data)  # type: ignore[operator]


def sample_size(node: dict[str, Any]) -> float | None:
    """Return how large one sample is, in its modality's unit: pixels a side, tokens at most, or seconds."""
    return next((node[key] for key in SIZES if key in node), None)


def fitting_size(config: dict[str, Any]) -> float | None:
    """Return the size of the data's samples, None where they are in seconds and the backbone is not, or the reverse.

    One for other data than there is is built all the same, for a size of its own; the data set then says what is wrong.
    """
    size = get_type_hints(locate(config["backbone"]["_target_"], "backbone")).get("size")
    seconds = float in get_args(size)  # pixels and tokens are whole numbers
    return sample_size(config["data"]) if ("seconds" in config["data"]) == seconds else None
