"""The LightningModule: a backbone with a head, of which each phase trains a part."""

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Suffix
from frostline.freeze.plan import Phase, learning_rates
from frostline.group import ALONE, Group
from frostline.training.optim import Schedule, parameter_groups

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
        label_smoothing: float = 0.0,
        group: Group = ALONE,
    ):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.body: nn.Module = backbone
        self.make_optimizer = make_optimizer
        self.rate = rate
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.group = group
        self.phase: Phase | None = None
        self.start = 0
        self.restore: dict[str, Any] | None = None
        self.outputs: list[Batch] = []
        self.skipped = 0
        self._sums: list[Tensor] = []
        self._before: Tensor | None = None

    def enter(self, phase: Phase, start: int, body: nn.Module, restore: dict[str, Any] | None = None) -> None:
        """Set up ``phase``, whose first epoch is ``start``: gradients, modes and the body.

        ``restore`` is the state of an optimizer that goes on in the middle of the phase.
        """
        self.phase, self.start, self.body, self.restore = phase, start, body, restore
        self.rates = learning_rates(phase, self.backbone.groups, self.backbone.norms())
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name in self.rates)
        for parameter in self.head.parameters():
            parameter.requires_grad_("head" in phase.train)
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

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits [B, classes] for images [B, 3, S, S] or for activations at the present cut."""
        return self.head(self.body(inputs))

    def configure_optimizers(self) -> Optimizer:
        assert self.phase is not None
        head_rate = self.phase.train["head"].lr if "head" in self.phase.train else None
        groups = parameter_groups(self.backbone, self.head, self.rates, head_rate, self.backbone.groups)
        for group in groups:
            group["lr"] = self.rate * group["scale"]
        optimizer = self.make_optimizer(groups)
        if self.restore is not None:
            optimizer.load_state_dict(self.restore)
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
        logits = self(batch["inputs"])
        loss = functional.cross_entropy(logits, batch["label"], label_smoothing=self.label_smoothing)
        hits = (logits.detach().argmax(dim=-1) == batch["label"]).sum()
        count = torch.tensor(float(len(logits)), device=loss.device)
        self._sums.append(torch.stack([loss.detach().float() * len(logits), hits.float(), count]))
        if batch_idx % CHECK_EVERY == 0:
            self._check_finite(loss.detach())
        return loss * batch["weight"]

    def _check_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            epoch, step = self.trainer.current_epoch, self.trainer.global_step
            raise Diverged(f"the loss became {float(loss)} in epoch {epoch}, step {step}, at optimizer.lr={self.rate}")

    def train_scores(self) -> dict[str, float]:
        """Return loss and accuracy over the epoch just trained, and forget them. Raises Diverged."""
        loss, hits, count = self.group.total(self.sums().sum(dim=0))
        self._sums.clear()
        self._check_finite(loss)
        return {"loss": float(loss / count), "accuracy": float(hits / count)}

    def go_on(self, steps: int, sums: Tensor | None) -> None:
        """Let the next epoch begin after so many steps, with their ``sums``."""
        self.skipped, self._before = steps, sums

    def sums(self) -> Tensor:
        """Return each step's summed loss, hits and samples [steps, 3], of this epoch so far."""
        return torch.stack(self._sums) if self._sums else torch.zeros(0, 3)

    def on_train_epoch_start(self) -> None:
        self._sums = [] if self._before is None else list(self._before.to(self.device))
        self._before = None

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
        if not len(batch["index"]):  # the other ranks have a batch more
            return
        logits = self(batch["inputs"]).float()
        self.outputs.append({"logits": logits, "label": batch["label"], "index": batch["index"]})

    def collected(self) -> Batch:
        """Return logits, labels and indices of the split just evaluated, by all ranks, in order, and forget them."""
        merged = {name: self.group.rows(tensor) for name, tensor in _merge(self.outputs).items()}
        self.outputs.clear()
        order = merged["index"].argsort()
        return {name: tensor[order].cpu() for name, tensor in merged.items()}


def _merge(parts: Sequence[Batch]) -> Batch:
    nothing = {"logits": torch.empty(0, 0), "label": torch.empty(0, dtype=torch.int64)}
    nothing["index"] = nothing["label"]
    return {name: torch.cat([part[name] for part in parts]) if parts else nothing[name] for name in nothing}
