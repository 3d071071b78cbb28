"""A trained network as it was tested: its parts made again from a run's record and its best checkpoint."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from frostline.backbones.base import ADAPTER, Backbone
from frostline.backbones.taps import make_body
from frostline.backbones.weights.loading import check_finite
from frostline.config.accelerators import find_accelerator
from frostline.config.schema import Run
from frostline.config.secrets import resolve_env
from frostline.data.inputs import Inputs
from frostline.errors import UserError
from frostline.heads import Head
from frostline.ranks.numerics import make_autocast
from frostline.runs.build import Builder
from frostline.runs.trainer import make_lone_trainer
from frostline.tasks.base import Task
from frostline.training.checkpoint import Checkpoints
from frostline.training.weights import Weights

log = logging.getLogger(__name__)


@dataclass
class Restored:
    """A network in eval mode, with what its task knows of labels.

    ``body`` is what of the backbone the head reads, ``autocast`` the precision it was tested in.
    """

    folder: Path
    record: Mapping[str, Any]
    task: Task
    classes: list[str]
    backbone: Backbone
    head: Head
    body: nn.Module
    device: torch.device
    autocast: Callable[[], AbstractContextManager]

    @property
    def config(self) -> Run:
        """Return the run's config, environment variables filled in."""
        return Run.read(resolve_env(self.record["config"]))

    @torch.inference_mode()
    def outputs(self, inputs: Inputs) -> Tensor:
        """Return the dense outputs [B, ...] of a batch, on the processor."""
        with self.autocast():
            return self.task.dense(self.head(self.body(inputs.to(self.device)))).cpu()


def restore(
    folder: Path,
    record: Mapping[str, Any],
    accelerator: str | None = None,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Restored:
    """Return the network of a run that is done, at its best epoch.

    ``accelerator`` is Lightning's word for the device; None: the CPU where the run was made there, else the best at
    hand. ``given`` are the objects that the run was given. A processor computes in 32-true for a run in 16-mixed, and
    says so. Raises UserError where the checkpoint is gone, or the network's own weights are not those of the run.
    """
    config = Run.read(resolve_env(record["config"]))
    kind = accelerator or ("cpu" if config.trainer.get("accelerator") == "cpu" else find_accelerator())
    trained = {**config.trainer, "accelerator": kind}
    if kind == "cpu" and trained.get("precision") == "16-mixed":
        trained["precision"] = "32-true"
        log.warning("The run computed in 16-mixed, which a processor does not have: here it computes in 32-true.")
    trainer, builder = make_lone_trainer(trained), Builder(given)
    backbone, plan = builder.make_network(config)
    task = builder.make_task(config)
    task.remember(record["task"])
    classes = record["data"]["classes"]
    taps = builder.choose_taps(config, backbone, backbone.preprocess.size)
    head = builder.make_head(config, backbone, task, classes, taps)
    weights = Weights(backbone, head, plan)
    state = Checkpoints(folder / "checkpoints").load_best()
    if state is None:
        raise UserError(f"{folder / 'checkpoints'}: the best checkpoint is gone or damaged; run it again.")
    saved = read_saved_weights(state, folder)
    check_origin(backbone, record["backbone"]["fingerprint"], saved["backbone"], folder)
    weights.load(saved)
    device = trainer.strategy.root_device
    backbone.eval().to(device)
    head.eval().to(device)
    body, autocast = make_body(backbone, taps).eval(), make_autocast(config.trainer, trainer)
    return Restored(folder, record, task, list(classes), backbone, head, body, device, autocast)


def read_saved_weights(state: Mapping[str, Any], folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return the weights in a checkpoint. Raises UserError where there are none, or they are no numbers."""
    parts, where = state.get("weights"), folder / "checkpoints"
    found: dict[str, dict[str, Tensor]] = {}
    for name in ("backbone", "head"):
        part = parts.get(name) if isinstance(parts, dict) else None
        if not isinstance(part, dict) or not all(isinstance(one, Tensor) for one in part.values()):
            raise UserError(f"{where}: the best checkpoint holds no weights; run it again.")
        check_finite(part, part.keys(), str(where))
        found[name] = part
    return found


@torch.no_grad()
def check_origin(backbone: Backbone, fingerprint: str, saved: Mapping[str, Tensor], folder: Path) -> None:
    """Make sure that what a checkpoint does not hold is as it was. Raises UserError.

    A checkpoint holds what trained; the rest comes from where the network's pretrained weights come from, or from the
    seed. What an adapter measured on the training data belongs to what the run began with, and is in the checkpoint.
    """
    own = backbone.state_dict()
    if set(own) <= set(saved):
        return
    measured = {name for name, _ in backbone.named_buffers() if name.startswith(f"{ADAPTER}.")}
    for name in measured & set(saved):
        own[name].copy_(saved[name])
    if backbone.fingerprint() != fingerprint:
        raise UserError(
            f"{folder}: the weights of {backbone.name} are not those that this run began with, and its checkpoint "
            "holds only what trained; bring back the weights (and versions) of then, or run it again."
        )
