"""What is known of a network's taps, and of a task and its data, before anything is read."""

from collections.abc import Mapping, Sequence
from typing import Any

from frostline.backbones.base import Backbone
from frostline.backbones.taps import Tap, find_taps
from frostline.config.schema import Run
from frostline.config.secrets import resolve_env
from frostline.errors import UserError
from frostline.runs.build import Builder, Ingredients, check
from frostline.tasks.base import Task


def survey_taps(plain: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the taps of a config's network are, and how many samples train and val have; nothing is decoded.

    Of each tap: name, group, width, bytes of a sample, and the share of the network's FLOPs up to it.
    """
    config = Run.read(resolve_env(plain))
    check(config)
    made = Builder(given).build(config)
    taps = find_taps(made.backbone, made.data.typical)
    return {"backbone": made.backbone.name, "samples": count_samples(made), "taps": describe_taps(taps, made.backbone)}


def describe_taps(taps: Sequence[Tap], backbone: Backbone) -> list[dict[str, Any]]:
    """Return what is known of taps before any is read.

    ``group`` is the deepest group that has a part in a tap: where it and all before it are frozen, so is the tap.
    """
    most = max(tap.flops for tap in taps) or 1
    return [
        {
            "name": tap.label,
            "group": find_group(tap, backbone),
            "width": tap.width,
            "bytes": tap.bytes,
            "flops": tap.flops / most,
        }
        for tap in taps
    ]


def find_group(tap: Tap, backbone: Backbone) -> str:
    """Return the deepest group that has a parameter before a tap."""
    return [name for name, members in backbone.groups.items() if tap.parameters.intersection(members)][-1]


def count_samples(made: Ingredients) -> dict[str, int]:
    """Return how many samples are read."""
    return {split: made.samples[split] for split in ("train", "val")}


def check_task(task: Task) -> None:
    """Refuse a task whose depths cannot be read by a solved probe. Raises UserError."""
    if task.solver is None:
        why = "answers for each frame" if task.is_sequence else "is learnt in steps only, as it is set up here"
        raise UserError(
            f"task: task={task.name} {why}, and a profile solves a probe at each depth: expected multiclass, "
            "multilabel or regression."
        )


def name_data(node: Mapping[str, Any]) -> str:
    """Return what a data set is called: its folder or its own name, else its kind."""
    for key in ("root", "name", "path"):
        if isinstance(node.get(key), str):
            return str(node[key]).rstrip("/").rpartition("/")[2]
    return str(node["_target_"]).rpartition(".")[2].lower()
