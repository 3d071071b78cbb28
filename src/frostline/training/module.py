"""The LightningModule: a backbone with a head, of which each phase trains a part."""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Suffix
from frostline.backbones.taps import JoinedTaps
from frostline.data.inputs import Inputs
from frostline.freeze.plan import Phase, find_rate_scales
from frostline.ranks.collectives import ALONE, Ranks
from frostline.tasks.base import Outputs, Task
from frostline.training.objectives.base import Batch, Counts, Objective, Step
from frostline.training.optim import Optimization, make_parameter_groups, restore_optimizer
from frostline.training.tally import Tally

NO_WEIGHTS: Mapping[str, Tensor] = MappingProxyType({})
CHECK_EVERY = 16
"""Steps between looks at the loss: a look waits for the accelerator."""


class Diverged(RuntimeError):
    """The loss is not a finite number any more."""


class FineTuner(pl.LightningModule):
    """Trains what the present phase says and keeps the rest bit-equal.

    ``objectives`` are what phases minimise, by the names that plans have for them; ``start_weights`` the backbone's
    parameters that train in some phase, by name, as the run began with them.
    ``enter`` must be called before each ``Trainer.fit``. The same module serves images and cached activations:
    ``body`` is the whole backbone, or its suffix after a cut. After each epoch's validation ``scores`` holds its
    scores, ``train/NAME`` and ``val/NAME``, the same on all ranks; they are logged, for callbacks to find.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        task: Task,
        objectives: Mapping[str, Objective],
        optimization: Optimization,
        start_weights: Mapping[str, Tensor] = NO_WEIGHTS,
        ranks: Ranks = ALONE,
    ):
        super().__init__()
        self.backbone, self.head, self.task = backbone, head, task
        self.objectives, self.optimization, self.start_weights = dict(objectives), optimization, start_weights
        self.ranks = ranks
        self.body: nn.Module = backbone
        self.objective = self.objectives["task"]
        self.phase: Phase | None = None
        self.first_epoch = 0
        self.skipped = 0
        self.tally = Tally()
        self.outputs: list[Batch] = []
        self.scores: dict[str, float] = {}
        self.validation: Batch = {}
        self._optimizer_state: dict[str, Any] | None = None
        self._no_labels = torch.empty(0, dtype=torch.int64)

    def enter(self, phase: Phase, first_epoch: int, body: nn.Module, optimizer: dict[str, Any] | None = None) -> None:
        """Set up ``phase``: gradients, modes, the objective and the body.

        ``optimizer`` is the state of an optimizer that goes on in the middle of the phase.
        Raises UserError for an objective that this network cannot follow.
        """
        self.phase, self.first_epoch, self.body, self._optimizer_state = phase, first_epoch, body, optimizer
        self.rates = find_rate_scales(phase, self.backbone.groups, self.backbone.kinds())
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name in self.rates)
        for parameter in self.head.parameters():
            parameter.requires_grad_("head" in phase.train)
        self.objective = deepcopy(self.objectives[phase.objective])  # what it takes now goes with the phase
        self.objective.begin(self)
        self.zero_grad(set_to_none=True)
        self.train()
        if self.backbone.compiled:
            if isinstance(body, Suffix | JoinedTaps):
                body.refresh()
            self.body = torch.compile(body)  # type: ignore[assignment]

    def continue_with(self, optimizer: dict[str, Any]) -> None:
        """Let the phase go on in another fit, whose optimizer begins with this state."""
        self._optimizer_state = optimizer

    def skip_steps(self, steps: int, rows: Tensor | None) -> None:
        """Let the next epoch begin after so many steps, in which the ``rows`` of a tally were counted."""
        self.skipped = steps
        self.tally.go_on_after(rows)

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
        groups = make_parameter_groups(self.backbone, self.head, self.rates, head_rate, self.backbone.groups)
        for group in groups:
            group["lr"] = self.optimization.rate * group["scale"]
        optimizer = self.optimization.make(groups)
        if self._optimizer_state is not None:
            restore_optimizer(optimizer, self._optimizer_state)
        return optimizer

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        steps = int(self.trainer.num_training_batches) + self.skipped
        assert self.phase is not None
        step = self.skipped + batch_idx + 0.5  # in mid-step: no rate is 0
        done = (self.trainer.current_epoch - self.first_epoch) * steps + step
        factor = self.optimization.schedule(done / (self.phase.epochs * steps))
        for group in self.get_optimizer().param_groups:
            group["lr"] = self.optimization.rate * group["scale"] * factor

    def get_optimizer(self) -> Optimizer:
        """Return this fit's optimizer itself, without Lightning's wrapper."""
        return self.trainer.optimizers[0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, counts = self.compute_loss(batch)
        self.tally.add(counts, len(batch["label"]))
        if batch_idx % CHECK_EVERY == 0:
            self._check_finite(float(loss.detach()))
        return loss * batch["weight"]

    def compute_loss(self, batch: Batch) -> tuple[Tensor, Counts]:
        """Return what the phase minimises, and what it counts of the batch."""
        return self.objective(Step(self, batch))

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            epoch, step, rate = self.trainer.current_epoch, self.trainer.global_step, self.optimization.rate
            raise Diverged(f"the loss became {loss} in epoch {epoch}, step {step}, at optimizer.lr={rate}")

    def on_train_epoch_start(self) -> None:
        self.tally.begin_epoch()

    def on_validation_epoch_start(self) -> None:
        self.outputs.clear()
        self.ranks.copy(*self.backbone.buffers())  # statistics of a live BatchNorm: each rank's saw its own samples

    def on_validation_epoch_end(self) -> None:
        """Take the scores of the epoch and log them, for callbacks to find. Raises Diverged."""
        means = self.tally.take_means(self.ranks)
        for value in means.values():
            self._check_finite(value)
        self.validation = found = self.collect_outputs()
        own = self.task.scores(found["outputs"], found["label"]) if self.ranks.leads else {}
        self.scores = {f"train/{name}": value for name, value in means.items()}
        self.scores |= {f"val/{name}": value for name, value in self.ranks.take_first(own).items()}
        exact = {name: torch.tensor(value, dtype=torch.float64) for name, value in self.scores.items()}
        self.log_dict(exact, logger=False, batch_size=1)  # on the host, where they are

    def list_scores(self, phase: Phase) -> list[str] | None:
        """Return the names of the scores of each epoch of a phase; None where its objective does not say beforehand."""
        counted = self.objectives[phase.objective].list_counts(self.task)
        if counted is None:
            return None
        return [*(f"val/{name}" for name in self.task.metrics), *(f"train/{name}" for name in counted)]

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

    def collect_outputs(self) -> Batch:
        """Return on rank 0 outputs, labels and indices of the split just evaluated, by all ranks, in order.

        They are forgotten; on any other rank nothing is returned of them.
        """
        longest = max([part["outputs"].shape[1] for part in self.outputs if part["outputs"].ndim == 3], default=0)
        longest = max(self.ranks.gather_values(longest))
        own = _merge(self.outputs, longest, self._no_labels)
        merged = {name: self.ranks.gather_rows(own[name]) for name in ("outputs", "label", "index")}
        self.outputs.clear()
        order = merged["index"].argsort()
        return {name: tensor[order] for name, tensor in merged.items()}


def _merge(parts: Sequence[Batch], longest: int, no_labels: Tensor) -> Batch:
    """Return the batches as one; outputs for sequences [B, T, width] are padded with NaN to ``longest``."""
    if not parts:
        return {"outputs": torch.empty(0, 0), "label": no_labels, "index": torch.empty(0, dtype=torch.int64)}
    merged = {name: torch.cat([part[name] for part in parts]) for name in ("label", "index")}
    return {**merged, "outputs": torch.cat([_pad_outputs(part["outputs"], longest) for part in parts])}


def _pad_outputs(outputs: Tensor, longest: int) -> Tensor:
    """Return outputs for sequences [B, T, width] padded with NaN to ``longest``, others as they are."""
    return functional.pad(outputs, (0, 0, 0, longest - outputs.shape[1]), value=math.nan) if longest else outputs
