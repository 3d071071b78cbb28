"""Keeps one phase of a plan in force while Lightning's own fit trains one's own LightningModule."""

import logging
import random
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, distributed, nn

from frostline.backbones.weights.loading import fingerprint
from frostline.data.order import stable_seed
from frostline.files.atomic import sha256_json
from frostline.freeze.plan import Plan
from frostline.training.lightning import draw_order_again, set_end
from frostline.training.own.groups import Groups
from frostline.training.own.rates import apply_rates

log = logging.getLogger(__name__)
BUFFERS = "buffers"


class Keeper(pl.Callback):
    """Sees to it that what a phase freezes is frozen, that the rest has its rates, and that a resumed run ends alike.

    It must be the first of a Trainer's callbacks. ``enter`` must be called before each fit. What it has to remember is
    in Lightning's checkpoints: the ``seed``, of which with the epoch and the rank all is made that is random in an
    epoch; how long the ``phases`` took; what was logged last, which Lightning forgets; and whether the Trainer was
    told to stop.
    """

    def __init__(self, groups: Groups, plan: Plan):
        self.groups, self.plan = groups, plan
        self.identity = sha256_json([plan.to_dict(), groups.owner, groups.patterns])
        self.seed = torch.initial_seed()
        self.index = 0
        self.phases: list[dict[str, Any]] = []
        self.frozen: list[nn.Module] = []
        self._trainer: Any = None
        self._restored: Mapping[str, Any] | None = None
        self._before: dict[str, str] = {}
        self._started = 0.0

    @property
    def state_key(self) -> str:
        return "frostline.fit"

    def enter(self, module: nn.Module, index: int) -> None:
        """Let the parameters of a phase require a gradient, and no others: DDP looks at it as a fit begins."""
        self.index = index
        self.scales = self.groups.rates(self.plan.phases[index])
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in self.scales)
        if len(self.phases) <= index:
            trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
            phase = self.plan.phases[index]
            self.phases.append({"name": phase.name, "epochs": 0, "seconds": 0.0, "parameters": trained})

    def release(self, module: nn.Module) -> None:
        """Give the modules and parameters back the modes and gradients that they came with."""
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in self.groups.parameters)
        for path, part in module.named_modules():
            part.training = self.groups.modes.get(path, part.training)

    @property
    def end(self) -> int:
        """The epoch after the last one of the phase."""
        return self.plan.start(self.index) + self.plan.phases[self.index].epochs

    def state_dict(self) -> dict[str, Any]:
        metrics = {name: float(value) for name, value in self._trainer.callback_metrics.items()}
        return {
            "identity": self.identity,
            "seed": self.seed,
            "phases": [dict(phase) for phase in self.phases],
            "metrics": metrics,
            "stopped": bool(self._trainer.should_stop),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seed, self._restored = state_dict["seed"], state_dict
        self.phases = [dict(phase) for phase in state_dict["phases"]]

    def leave(self, trainer: Any) -> bool:
        """Close a phase; return whether the Trainer was told to stop, in this sitting or before its checkpoint."""
        restored, self._restored = self._restored, None
        return trainer.should_stop or (restored is not None and restored["stopped"])

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Let ``configure_optimizers`` see the length of the phase: the schedule that it makes lasts as long."""
        self._trainer = trainer
        set_end(trainer, self.plan.phases[self.index].epochs)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        set_end(trainer, self.end)
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        names: dict[Tensor, str] = {parameter: name for name, parameter in pl_module.named_parameters()}
        apply_rates(trainer.optimizers, schedulers, self.scales, names)
        self.seed = trainer.strategy.broadcast(self.seed)
        frozen = self.groups.frozen_modules(pl_module, self.plan.phases[self.index])
        for path, part in pl_module.named_modules():
            part.training = self.groups.modes.get(path, part.training)
        self.frozen = list(frozen.values())
        self._freeze()
        self._before = self._frozen_digests(pl_module)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Do what Lightning would have done after the checkpoint of an epoch, and does not do when it goes on."""
        if self._restored is None:
            return
        trainer.should_stop = self._restored["stopped"]
        for config in trainer.lr_scheduler_configs:
            owed = config.interval == "epoch" and trainer.current_epoch % config.frequency == 0
            if config.reduce_on_plateau and owed:
                pl_module.lr_scheduler_step(config.scheduler, self._restored["metrics"].get(config.monitor))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Let what is random in an epoch be a function of seed, epoch and rank, so that nothing before it matters."""
        self._started = time.monotonic()
        seed = stable_seed(self.seed, "epoch", trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        draw_order_again(trainer)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._freeze()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        phase = self.phases[self.index]
        phase["epochs"] += 1
        phase["seconds"] += time.monotonic() - self._started

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Raise RuntimeError where something frozen has changed, or the ranks hold different weights."""
        name = self.plan.phases[self.index].name
        now = self._frozen_digests(pl_module)
        moved = [group for group in now if now[group] != self._before[group]]
        if not trainer.strategy.reduce_boolean_decision(not moved):  # on all ranks, which would wait for each other
            raise RuntimeError(
                f"phase {name}: the module's own code has changed what is frozen: {', '.join(moved) or 'elsewhere'}"
            )
        if trainer.world_size > 1:
            self._check_ranks(trainer, pl_module, name)

    def _freeze(self) -> None:
        for part in self.frozen:
            part.training = False

    def _frozen_digests(self, module: nn.Module) -> dict[str, str]:
        """Return a SHA-256 of the frozen parameters of each group, and of the buffers of frozen modules."""
        mine = {name: value for name, value in module.named_parameters() if name in self.groups.parameters}
        frozen = set(self.frozen)
        buffers = {
            f"{path}.{name}": value
            for path, part in module.named_modules()
            if part in frozen
            for name, value in part.named_buffers(recurse=False)
        }
        digests = self._digests({name: value for name, value in mine.items() if name not in self.scales})
        return {**digests, BUFFERS: fingerprint(buffers)}

    def _digests(self, parameters: Mapping[str, Tensor]) -> dict[str, str]:
        """Return a SHA-256 of these parameters for each group that has any."""
        found: dict[str, dict[str, Tensor]] = {}
        for name, value in parameters.items():
            found.setdefault(self.groups.owner[name], {})[name] = value
        return {group: fingerprint(own) for group, own in found.items()}

    def _check_ranks(self, trainer: Any, module: nn.Module, phase: str) -> None:
        """Raise RuntimeError, naming the groups, unless every rank holds the same parameters, to the bit.

        Buffers become those of rank 0, which every checkpoint has: each rank's BatchNorm saw its own samples last.
        """
        for buffer in module.buffers():
            flat = buffer.detach().contiguous().view(-1).view(torch.uint8)
            distributed.broadcast(flat, 0)
            buffer.copy_(flat.view(buffer.dtype).view(buffer.shape))
        own = self._digests(dict(module.named_parameters()))
        first = trainer.strategy.broadcast(own)
        apart = [group for group in own if not trainer.strategy.reduce_boolean_decision(own[group] == first[group])]
        if apart:
            raise RuntimeError(f"after phase {phase} the ranks differ in the weights of {', '.join(apart)}")
        log.info("After phase %s all %d ranks hold the same weights.", phase, trainer.world_size)
