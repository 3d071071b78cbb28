"""The only builder: from a typed config to what a run is about, each thing made once however many runs share it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from frostline.backbones.adapters.base import none
from frostline.backbones.base import FEATURES, Backbone
from frostline.backbones.changes.apply import Site, apply_changes
from frostline.backbones.changes.input_adapter import find_picture_size, find_sample_size, read_sizes
from frostline.backbones.taps import Tap, choose_taps, find_taps, joined_width, make_body
from frostline.config.allow import is_own, locate
from frostline.config.schema import Run, instantiate
from frostline.config.switches import check_switches
from frostline.data.base import DataModule
from frostline.data.content import find_data_place
from frostline.data.index import DataIndex, index_folder
from frostline.data.order import make_seed
from frostline.errors import UserError, make_choice_error
from frostline.freeze.plan import HEAD, INPUT_ADAPTER, Change, Plan, find_rate_scales
from frostline.heads import Head, Scaling, check_frames
from frostline.runs.own import make_backbone, make_data
from frostline.tasks.base import Task
from frostline.training.objectives.base import Objective
from frostline.training.objectives.choose import check_solvable, make_objectives

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


@dataclass(frozen=True)
class Ingredients:
    """What a run is about: what is asked of which data, and the network that learns it by a plan.

    ``objectives`` are by the names that the plan's phases have for them; ``taps`` are what the head reads, none where
    it reads the features.
    """

    task: Task
    data: DataModule
    backbone: Backbone
    head: Head
    plan: Plan
    objectives: Mapping[str, Objective]
    taps: Sequence[Tap] = ()

    @property
    def width(self) -> int:
        """How many numbers of a sample the head reads."""
        return joined_width(self.backbone, self.taps)

    @property
    def depths(self) -> list[str]:
        """The names of what the head reads."""
        return [tap.label for tap in self.taps] or [FEATURES]

    @property
    def scaling(self) -> Scaling | None:
        """What brings the taps that the head reads to one variance; a head of the user's own has none."""
        return self.head.scaling if isinstance(self.head, Head) else None

    @property
    def body(self) -> nn.Module:
        """What is run before the head, from inputs."""
        return make_body(self.backbone, self.taps)

    @property
    def samples(self) -> dict[str, int]:
        """How many samples each split has."""
        return {name: len(split) for name, split in self.data.splits.items()}

    def count_parameters(self) -> dict[str, int]:
        """Return the parameters of each group and of the head."""
        each = {name: parameter.numel() for name, parameter in self.backbone.named_parameters()}
        groups = {group: sum(each[name] for name in names) for group, names in self.backbone.groups.items()}
        return {**groups, HEAD: sum(parameter.numel() for parameter in self.head.parameters())}

    def count_trained(self, index: int) -> dict[str, int]:
        """Return the parameters of each group and of the head that train in a phase."""
        phase, backbone = self.plan.phases[index], self.backbone
        rates = find_rate_scales(phase, backbone.groups, backbone.kinds())
        each = {name: parameter.numel() for name, parameter in backbone.named_parameters() if name in rates}
        groups = {group: sum(each.get(name, 0) for name in names) for group, names in backbone.groups.items()}
        return {**groups, HEAD: self.count_parameters()[HEAD] if HEAD in phase.train else 0}

    def is_solved(self, index: int) -> bool:
        """Return whether a phase is solved: the head trains alone and its solver is set."""
        return self.plan.phases[index].head_only and find_solver(self.head) is not None


class Builder:
    """Makes the ingredients of runs. What several configs have in common is made once, and is the same object.

    A run, the survey before a comparison, ``predict``, ``export`` and the Python API all make theirs here. ``given``
    holds objects of the user's own in place of what the nodes ``backbone`` and ``data`` name.
    """

    def __init__(self, given: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.given = given
        self._shared: dict[str, Any] = {}

    def build(self, config: Run) -> Ingredients:
        """Return what a run is about; no sample is decoded yet. Raises UserError for a wrong config.

        The config was looked at by ``check`` before.
        """
        backbone, plan = self.make_network(config)
        task, data = self.make_samples(config, backbone)
        taps = self.choose_taps(config, backbone, data.typical)
        head = self.make_head(config, backbone, task, data.classes, taps)
        objectives = make_objectives(config.objective)
        check_solving(config, task, head, plan, objectives["task"])
        return Ingredients(task, data, backbone, head, plan, objectives, taps)

    def make_network(self, config: Run) -> tuple[Backbone, Plan]:
        """Return the backbone after the changes of its plan, and the plan that its strategy makes of its groups."""
        changes = [Change(INPUT_ADAPTER, config.adapter)] if has_adapter(config) else []
        backbone = self._apply_changes(config, changes)
        groups = tuple(backbone.groups)
        plan: Plan = self.share(
            ["plan", groups, config.freeze, config.epochs],
            lambda: instantiate(config.freeze, "freeze", groups=groups, epochs=config.epochs),
        )
        wanted = (*plan.changes, *changes)
        return (self._apply_changes(config, wanted) if plan.changes else backbone), replace(plan, changes=wanted)

    def _apply_changes(self, config: Run, changes: Sequence[Change]) -> Backbone:
        """Return the backbone after these changes. Its weights depend on the seed where any of them are random."""
        random = bool(changes) or config.backbone.get("weights") == "none" or is_own(str(config.backbone["_target_"]))
        shared = ["backbone", config.backbone, config.adapter, read_sizes(config.data)]
        shared += [[change.to_dict() for change in changes], config.seed if random else None]
        shared.append(config.data if is_own(str(config.data["_target_"])) else None)  # which says what samples are like
        site = Site(lambda pretrained: self._make_bare(config, pretrained), config.seed, config.data)
        return self.share(shared, lambda: apply_changes(self._make_bare(config, True), changes, site))

    def _make_bare(self, config: Run, pretrained: bool) -> Backbone:
        """Return the backbone with its pretrained weights, or with random ones that are a function of the seed.

        One for another modality than the data's is built all the same, for its own size; the data set then says what
        is wrong.
        """
        pl.seed_everything(config.seed, verbose=False)
        samples = find_picture_size(config.adapter) if has_adapter(config) else config.data
        size = find_sample_size(config.backbone, "backbone", samples)
        return make_backbone(config.backbone, config.data, self.given, self.share, **size, pretrained=pretrained)

    def make_task(self, config: Run) -> Task:
        """Return what is asked of the labels. Raises UserError for a ``monitor`` that is none of its scores."""
        task = instantiate(config.task, "task")
        if config.metric not in task.metrics:
            raise make_choice_error("monitor", config.metric, task.metrics)
        check_frames(task, config.backbone.get("pooling"))
        return task

    def make_samples(self, config: Run, backbone: Backbone) -> tuple[Task, DataModule]:
        """Return the task, which knows the training labels, and the data, prepared as the backbone wants them."""
        task, data = self.prepare_samples(config, backbone)
        if backbone.adapter is not None:  # it measures the training samples
            self.share(("fitted", id(backbone), id(data)), lambda: backbone.adapter.fit(data) or True)  # type: ignore
        return task, data

    def prepare_samples(self, config: Run, backbone: Backbone) -> tuple[Task, DataModule]:
        """Return what `make_samples` does, before an adapter has measured any of it."""
        nodes = [config.data, config.augment, config.task, config.seed]
        return self.share(
            ("samples", *nodes, str(backbone.preprocess)), lambda: self._prepare_samples(config, backbone)
        )

    def _prepare_samples(self, config: Run, backbone: Backbone) -> tuple[Task, DataModule]:
        task = self.make_task(config)
        data = self.make_data(config, backbone, task)
        task.fit(data.splits["train"].labels, data.classes)
        return task, data

    def make_data(self, config: Run, backbone: Backbone, task: Task) -> DataModule:
        """Return the data, prepared as the backbone wants it, its labels as the task does."""
        return make_data(
            config.data,
            self.given,
            self.share,
            preprocess=backbone.preprocess,
            augment=instantiate(config.augment, "augment") if "_target_" in config.augment else None,
            task=task,
            seed=config.seed,
            index=DataIndex(index_folder(Path(config.outputs)), find_data_place(config.data) or ""),
        )

    def choose_taps(self, config: Run, backbone: Backbone, size: int) -> list[Tap]:
        """Return the taps that the head reads for samples of ``size``, none where it reads the features.

        Raises UserError for taps that are not there.
        """
        wanted = config.head.get("taps")
        return [] if wanted is None else choose_taps(find_taps(backbone, size), wanted)

    def make_head(
        self, config: Run, backbone: Backbone, task: Task, classes: list[str], taps: Sequence[Tap] = ()
    ) -> Head:
        """Return the head for a task with these classes; its initial weights are a function of the seed."""
        sizes: dict[str, Any] = {"features": joined_width(backbone, taps), "classes": task.width(classes)}
        if "taps" in config.head:
            sizes["widths"] = [tap.width for tap in taps] or [backbone.num_features]
            sizes["frames"] = task.is_sequence
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(make_seed(config.seed, "head"))
            return instantiate(config.head, "head", **sizes)

    def share(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned when it was asked for under this key before, else what it returns now."""
        name = json.dumps(key, sort_keys=True, default=str)
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]


def has_adapter(config: Run) -> bool:
    """Return whether an adapter stands before the backbone."""
    return locate(config.adapter["_target_"], "adapter") is not none


def check(config: Run) -> None:
    """Refuse what no part can look after by itself. Raises UserError."""
    check_switches(config.trainer)
    if config.trainer["precision"] not in PRECISIONS:
        raise make_choice_error("trainer.precision", config.trainer["precision"], PRECISIONS)
    if "lr" not in config.optimizer:
        raise UserError("optimizer.lr is missing; give the learning rate, for example optimizer.lr=0.001.")


def find_solver(head: nn.Module) -> str | None:
    """Return what solves a head; one of the user's own, which need not say, is stepped."""
    return getattr(head, "solver", None)


def check_solving(config: Run, task: Task, head: Head, plan: Plan, objective: Objective) -> None:
    """Refuse settings that a solved head cannot follow, rather than ignore them. Raises UserError."""
    if find_solver(head) is None or not any(phase.head_only for phase in plan.phases):
        return
    check_solvable(objective, config.objective)
    if task.solver is None:
        raise UserError(f"head.solver: task={task.name} is learnt in steps only, as it is set up here; use null.")
    if config.data.get("balanced"):
        raise UserError(
            "data.balanced: a solved head sees every sample once; use task.class_weights=balanced, or head.solver=null."
        )
