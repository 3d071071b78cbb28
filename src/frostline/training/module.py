"""The LightningModule: a backbone with a head, of which each phase trains a part."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Suffix
from frostline.data.inputs import Inputs
from frostline.freeze.plan import Phase, learning_rates
from frostline.ranks.collectives import ALONE, Group
from frostline.tasks.base import Outputs, Task
from frostline.training.objectives.alignment import Alignment
from frostline.training.optim import Schedule, parameter_groups, restore_optimizer

Batch = dict[str, Tensor]
CHECK_EVERY = 16
"""Steps between looks at the loss: a look waits for the accelerator."""


class Diverged(RuntimeError):
    """The loss is not a finite number any more."""


class FineTuner(pl.LightningModule):
    """Trains what the present phase says and keeps the rest bit-equal.

    ``make_optimizer`` takes named parameter groups; ``rate`` is ``optimizer.lr``, which each group scales.
    ``enter`` must be called before each ``Trainer.fit``. The same module serves images and cached activations:
    ``body`` is the whole backbone, or its suffix after a cut.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        make_optimizer: Callable[[list[dict]], Optimizer],
        rate: float,
        schedule: Schedule,
        task: Task,
        group: Group = ALONE,
    ):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.body: nn.Module = backbone
        self.make_optimizer = make_optimizer
        self.rate = rate
        self.schedule = schedule
        self.task = task
        self.group = group
        self.phase: Phase | None = None
        self.start = 0
        self.restore: dict[str, Any] | None = None
        self.alignment: Alignment | None = None
        self.outputs: list[Batch] = []
        self.skipped = 0
        self._no_labels = torch.empty(0, dtype=torch.int64)
        self._sums: list[Tensor] = []
        self._before: Tensor | None = None

    def enter(self, phase: Phase, start: int, body: nn.Module, restore: dict[str, Any] | None = None) -> None:
        """Set up ``phase``, whose first epoch is ``start``: gradients, modes and the body.

        ``restore`` is the state of an optimizer that goes on in the middle of the phase.
        """
        self.phase, self.start, self.body, self.restore = phase, start, body, restore
        self.rates = learning_rates(phase, self.backbone.groups, self.backbone.kinds())
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name in self.rates)
        for parameter in self.head.parameters():
            parameter.requires_grad_("head" in phase.train)
        self.alignment = None if phase.objective == "task" else Alignment(self.backbone.adapter)
        self.zero_grad(set_to_none=True)
        self.train()
        if self.backbone.compiled:
            if isinstance(body, Suffix):
                body.refresh()
            self.body = torch.compile(body)  # type: ignore[assignment]

    def train(self, mode: bool = True) -> "FineTuner":
        """Set the mode, except that what is frozen stays in eval mode: no statistic moves, nothing is dropped."""
        super().train(mode)
        if self.phase is not None:
            self.backbone.freeze_modes({group for group in self.backbone.groups if group not in self.phase.train})
            if "head" not in self.phase.train:
                self.head.eval()
        return self

    def forward(self, inputs: Inputs) -> Outputs:
        """Return outputs [B, width], or of each frame, for inputs or for activations at the present cut."""
        return self.head(self.body(inputs))

    def configure_optimizers(self) -> Optimizer:
        assert self.phase is not None
        head_rate = self.phase.train["head"].lr if "head" in self.phase.train else None
        groups = parameter_groups(self.backbone, self.head, self.rates, head_rate, self.backbone.groups)
        for group in groups:
            group["lr"] = self.rate * group["scale"]
        optimizer = self.make_optimizer(groups)
        if self.restore is not None:
            restore_optimizer(optimizer, self.restore)
        return optimizer

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        steps = int(self.trainer.num_training_batches) + self.skipped
        assert self.phase is not None
        step = self.skipped + batch_idx + 0.5  # in mid-step: no rate is 0
        done = (self.trainer.current_epoch - self.start) * steps + step
        factor = self.schedule(done / (self.phase.epochs * steps))
        for group in self.present_optimizer().param_groups:
            group["lr"] = self.rate * group["scale"] * factor

    def present_optimizer(self) -> Optimizer:
        """Return this fit's optimizer itself, without Lightning's wrapper."""
        return self.trainer.optimizers[0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        labels = batch["label"]
        loss, hits = self._aligned(batch) if self.alignment is not None else self._judged(batch)
        loss_now = loss.detach().float()
        count = loss_now.new_full((), len(labels))  # filled there: a number that is sent waits for the accelerator
        self._sums.append(torch.stack([loss_now * len(labels), hits.float(), count]))
        if batch_idx % CHECK_EVERY == 0:
            self._check_finite(loss.detach())
        return loss * batch["weight"]

    def _judged(self, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs, labels = self(batch["inputs"]), batch["label"]
        return self.task.loss(outputs, labels), self.task.hits(outputs, labels)

    def _aligned(self, batch: Batch) -> tuple[Tensor, Tensor]:
        assert self.alignment is not None
        loss = self.alignment(batch["inputs"])
        return loss, torch.zeros_like(loss)

    def _check_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            epoch, step = self.trainer.current_epoch, self.trainer.global_step
            raise Diverged(f"the loss became {float(loss)} in epoch {epoch}, step {step}, at optimizer.lr={self.rate}")

    def train_scores(self) -> dict[str, float]:
        """Return the loss and the task's running score over the epoch just trained, and forget them. Raises Diverged.

        Of an epoch that aligned an adapter it is the distance that is left.
        """
        loss, hits, count = self.group.total(self.sums().sum(dim=0))
        self._sums.clear()
        self._before = None
        self._check_finite(loss)
        if self.alignment is not None:
            return {"distance": float(loss / count)}
        return {"loss": float(loss / count), self.task.running: float(hits / count)}

    def go_on(self, steps: int, sums: Tensor | None) -> None:
        """Let the next epoch begin after so many steps, with their ``sums``."""
        self.skipped, self._before = steps, sums

    def sums(self) -> Tensor:
        """Return each step's summed loss, hits and samples [steps, 3], of this epoch so far."""
        own = torch.stack(self._sums) if self._sums else torch.zeros(0, 3)
        return own if self._before is None else torch.cat([self._before.to(own.device), own])

    def on_train_epoch_start(self) -> None:
        self._sums = []

    def on_validation_epoch_start(self) -> None:
        self.outputs.clear()
        self.group.copy(*self.backbone.buffers())  # statistics of a live BatchNorm: each rank's saw its own samples

    def on_test_epoch_start(self) -> None:
        self.outputs.clear()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._keep(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        self._no_labels = batch["label"][:0]
        if not len(batch["index"]):  # the other ranks have a batch more
            return
        outputs = self.task.dense(self(batch["inputs"]))
        self.outputs.append({"outputs": outputs, "label": batch["label"], "index": batch["index"]})

    def collected(self) -> Batch:
        """Return on rank 0 outputs, labels and indices of the split just evaluated, by all ranks, in order.

        They are forgotten; on any other rank nothing is returned of them.
        """
        longest = max([part["outputs"].shape[1] for part in self.outputs if part["outputs"].ndim == 3], default=0)
        longest = max(self.group.each(longest))
        own = _merge(self.outputs, longest, self._no_labels)
        merged = {name: self.group.rows(own[name]) for name in ("outputs", "label", "index")}
        self.outputs.clear()
        order = merged["index"].argsort()
        return {name: tensor[order] for name, tensor in merged.items()}


def _merge(parts: Sequence[Batch], longest: int, no_labels: Tensor) -> Batch:
    """Return the batches as one; outputs for sequences [B, T, width] are padded with NaN to ``longest``."""
    if not parts:
        return {"outputs": torch.empty(0, 0), "label": no_labels, "index": torch.empty(0, dtype=torch.int64)}
    merged = {name: torch.cat([part[name] for part in parts]) for name in ("label", "index")}
    return {**merged, "outputs": torch.cat([_lengthened(part["outputs"], longest) for part in parts])}


def _lengthened(outputs: Tensor, longest: int) -> Tensor:
    """Return outputs for sequences [B, T, width] padded with NaN to ``longest``, others as they are."""
    return functional.pad(outputs, (0, 0, 0, longest - outputs.shape[1]), value=math.nan) if longest else outputs
