"""Phases: one fit each, and what is kept after every epoch."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from frostline.backbones.base import Backbone
from frostline.data.base import DataModule, stable_seed
from frostline.errors import UserError
from frostline.files import sha256_json
from frostline.freeze.plan import HEAD, Plan, learning_rates
from frostline.group import ALONE, Group
from frostline.heads import Linear
from frostline.training.checkpoint import Checkpoints
from frostline.training.module import FineTuner
from frostline.training.solve import solve_head

log = logging.getLogger(__name__)
Scores = dict[str, float]


@dataclass
class Progress:
    """Where a run stands: all of it is in every checkpoint, and nothing else is needed to go on.

    ``epoch`` is the next epoch; ``history`` has a row for each epoch done; ``best`` is the best epoch, with its
    value; ``cost`` is what the run has cost so far, in all its sittings; ``passes`` says for each phase that was
    solved how often its solver went over the features.
    """

    epoch: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, float] | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    passes: dict[int, int] = field(default_factory=dict)


class Weights:
    """The weights that a plan changes: what a checkpoint holds, and what it is restored to.

    That is every parameter that trains in some phase, the head, and those buffers (BatchNorm's statistics) that
    have moved. Made before anything is restored, it keeps what the run began with, in a resumed run too.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, plan: Plan):
        self.backbone, self.head = backbone, head
        norms = backbone.norms()
        self.trains = {name for phase in plan.phases for name in learning_rates(phase, backbone.groups, norms)}
        self.parameters = {n: p.detach().cpu().clone() for n, p in backbone.named_parameters() if n in self.trains}
        self.buffers = {name: buffer.detach().cpu().clone() for name, buffer in backbone.named_buffers()}

    def changed(self) -> dict[str, Tensor]:
        """Return the backbone's own tensors, by name, that are no longer what the run began with."""
        now = {**dict(self.backbone.named_parameters()), **dict(self.backbone.named_buffers())}
        first = {**self.parameters, **self.buffers}
        return {name: now[name] for name, value in first.items() if not torch.equal(now[name].cpu(), value)}

    @contextmanager
    def as_begun(self) -> Iterator[None]:
        """Give the backbone for a while the weights that the run began with."""
        tensors = self.changed()
        present = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        try:
            _fill(tensors, {**self.parameters, **self.buffers})
            yield
        finally:
            _fill(tensors, present)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors to keep."""
        kept: dict[str, Tensor] = {n: value for n, value in self.backbone.named_parameters() if n in self.trains}
        for name, buffer in self.backbone.named_buffers():
            if not torch.equal(buffer.cpu(), self.buffers[name]):
                kept[name] = buffer
        return {"backbone": kept, "head": dict(self.head.state_dict())}

    @torch.no_grad()
    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore what ``state`` returned. Raises UserError for the checkpoint of another network."""
        buffers = dict(self.backbone.named_buffers())
        own = {**dict(self.backbone.named_parameters()), **buffers, **_prefixed(self.head.state_dict())}
        saved = {**state["backbone"], **_prefixed(state["head"])}
        needed = self.trains | set(_prefixed(self.head.state_dict()))
        missing, unexpected = needed - set(saved), set(saved) - needed - set(buffers)
        misfits = [name for name in saved if name in own and own[name].shape != saved[name].shape]
        if missing or unexpected or misfits:
            raise UserError(
                "the checkpoint is of another network: "
                f"missing {sorted(missing)}, unexpected {sorted(unexpected)}, of another shape {sorted(misfits)}; "
                "start the run anew with force=true."
            )
        for name, buffer in buffers.items():
            buffer.copy_(self.buffers[name])
        for name, value in saved.items():
            own[name].copy_(value)


@torch.no_grad()
def _fill(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def _prefixed(head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a head's tensors under names that no backbone has."""
    return {f"head.{name}": value for name, value in head.items()}


class Pruned(RuntimeError):
    """The run was told to stop: others promise more."""


class Journal(pl.Callback):
    """After each epoch: scores, a row of history, and a checkpoint.

    ``score`` computes a split's scores from logits and labels; ``better`` compares two values of ``monitor``;
    ``publish`` is told of the history (for metrics.csv and loggers); ``charge`` brings ``progress.cost`` up to date;
    ``judge`` is asked whether the run is to stop. All ranks of ``group`` go through it; the first one writes.
    """

    def __init__(
        self,
        progress: Progress,
        checkpoints: Checkpoints,
        weights: Weights,
        score: Callable[[Tensor, Tensor], Scores],
        better: Callable[[float, float | None], bool],
        monitor: str,
        publish: Callable[[Sequence[Mapping[str, Any]]], None],
        charge: Callable[[int], None],
        seed: int,
        group: Group = ALONE,
        judge: Callable[[int], bool] = lambda epoch: False,
    ):
        self.progress, self.checkpoints, self.weights = progress, checkpoints, weights
        self.score, self.better, self.monitor = score, better, monitor
        self.publish, self.charge = publish, charge
        self.seed, self.group, self.judge = seed, group, judge
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let what is random in an epoch be a function of seed, epoch and rank, so that nothing before it matters."""
        self._started = time.monotonic()
        torch.manual_seed(stable_seed(self.seed, "epoch", trainer.current_epoch, self.group.rank))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuner)
        optimizer = pl_module.present_optimizer()
        rates = {group["name"].split("/")[0]: group["lr"] for group in optimizer.param_groups}
        validation = pl_module.collected()
        scores = self.score(validation["logits"], validation["label"])
        self.progress.step = trainer.global_step
        row = self._row(pl_module, trainer.current_epoch, pl_module.train_scores(), scores, rates)
        self.close_epoch(row, optimizer.state_dict())

    def _row(
        self, module: FineTuner, epoch: int, train: Scores, validation: Scores, rates: Mapping[str, float]
    ) -> dict[str, Any]:
        assert module.phase is not None
        return {
            "epoch": epoch,
            "phase": module.phase.name,
            **{f"train/{name}": value for name, value in train.items()},
            **{f"val/{name}": value for name, value in validation.items()},
            **{f"lr/{name}": value for name, value in rates.items()},
            "seconds": round(time.monotonic() - self._started, 4),
        }

    def close_epoch(self, row: dict[str, Any], optimizer: dict[str, Any] | None) -> None:
        """Keep what an epoch ended with, as rank 0 has it. Raises Pruned where the run is judged not worth more."""
        progress, row = self.progress, self.group.first(row)
        value, best = row[f"val/{self.monitor}"], progress.best
        improved = self.better(value, None if best is None else best["value"])
        if improved or best is None:
            progress.best = {"epoch": row["epoch"], "value": value}
        progress.history.append(row)
        progress.epoch = row["epoch"] + 1
        self.charge(row["epoch"])
        if self.group.leads:
            state = {"progress": dict(vars(progress)), "weights": self.weights.state(), "optimizer": optimizer}
            self.checkpoints.save(row["epoch"], state, best=improved or best is None)
            self.publish(progress.history)
        if self.group.first(self.group.leads and self.judge(row["epoch"])):
            raise Pruned(f"stopped after epoch {row['epoch']}, {self.monitor} {value:.4g} on validation")

    def solved(self, module: FineTuner, plan: Plan, index: int, splits: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Close a phase that was solved: one row stands for all its epochs."""
        module.eval()
        with torch.no_grad():
            scores = {name: self.score(module.head(features), labels) for name, (features, labels) in splits.items()}
        last = plan.start(index) + plan.phases[index].epochs - 1
        train = {name: scores["train"][name] for name in ("loss", "accuracy")}
        self.close_epoch(self._row(module, last, train, scores["val"], {}), None)

    def start_solving(self) -> None:
        """Start the clock of a phase that is solved."""
        self._started = time.monotonic()


def fit_phase(
    trainer: pl.Trainer, module: FineTuner, data: DataModule, plan: Plan, index: int, progress: Progress
) -> None:
    """Train one phase, or what is left of it, with one fit: the optimizer, and DDP, hold exactly what trains.

    Raises RuntimeError when the ranks do not hold the same weights after it.
    """
    go_to(trainer, progress)
    trainer.fit_loop.max_epochs = plan.start(index) + plan.phases[index].epochs
    trainer.fit(module, datamodule=data)
    check_equal(module, plan.phases[index].name)


def check_equal(module: FineTuner, phase: str) -> None:
    """Raise RuntimeError, naming the groups, unless every rank holds the same weights and buffers, to the bit."""
    if module.group.world == 1:
        return
    sums = digests(module.backbone, module.head)
    each = module.group.each(sums)
    apart = [name for name in sums if any(other[name] != sums[name] for other in each)]
    if apart:
        raise RuntimeError(f"after phase {phase} the ranks differ in the weights of {', '.join(apart)}")
    log.info("After phase %s all %d ranks hold the same weights: %s.", phase, len(each), sha256_json(sums)[:16])


def digests(backbone: Backbone, head: nn.Module) -> dict[str, str]:
    """Return a SHA-256 of the parameters of each group, of the head, and of all buffers."""
    named = dict(backbone.named_parameters())
    tensors = {group: [named[name] for name in names] for group, names in backbone.groups.items()}
    tensors |= {HEAD: list(head.state_dict().values()), "buffers": list(backbone.buffers())}
    return {name: _digest(values) for name, values in tensors.items()}


def _digest(tensors: Sequence[Tensor]) -> str:
    total = sha256()
    for tensor in tensors:
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def resume(journal: Journal, plan: Plan) -> dict[str, Any] | None:
    """Go back to a run's last checkpoint, if any; return its optimizer's state where a phase goes on inside."""
    state = journal.checkpoints.latest()
    if state is None:
        return None
    journal.weights.load(state["weights"])
    vars(journal.progress).update(state["progress"])
    epoch = journal.progress.epoch
    return state["optimizer"] if epoch < plan.epochs and plan.at(epoch)[1] > 0 else None


def go_to(trainer: pl.Trainer, progress: Progress) -> None:
    """Let a trainer count epochs and steps from where the run stands."""
    count: Any = trainer.fit_loop.epoch_progress.current
    count.ready = count.started = count.processed = count.completed = progress.epoch
    optimizer = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer
    optimizer.step.total.ready = optimizer.step.total.completed = progress.step


def solve_phase(
    journal: Journal, module: FineTuner, plan: Plan, index: int, splits: Mapping[str, tuple[Tensor, Tensor]]
) -> float:
    """Solve the head for a phase in which nothing else trains; return the penalty that was best on validation.

    ``splits`` holds features [N, D] and labels [N] of train (all its views, one after the other) and val.
    """
    journal.start_solving()
    assert isinstance(module.head, Linear)
    found = vars(solve_head(module.head, splits["train"], splits["val"])) if journal.group.leads else None
    solution = journal.group.first(found)
    journal.group.copy(*module.head.parameters())
    journal.progress.passes[index] = solution["passes"]
    journal.solved(module, plan, index, splits)
    return solution["penalty"]
