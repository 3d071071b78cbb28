"""Phases: one fit each, and what is kept after every epoch."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from torch import Tensor

from frostline.data.base import DataModule
from frostline.data.order import stable_seed
from frostline.errors import UserError
from frostline.freeze.plan import Plan
from frostline.heads import Linear
from frostline.processes.stopping import STOP, Interrupted, deaf
from frostline.ranks.collectives import ALONE, Group
from frostline.training.checkpoint import Checkpoints
from frostline.training.module import FineTuner
from frostline.training.pause import random_states, set_random_state, wanted
from frostline.training.sharded import whole
from frostline.training.solve import solve_head
from frostline.training.weights import Weights, check_equal

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


class Pruned(RuntimeError):
    """The run was told to stop: others promise more."""


class Journal(pl.Callback):
    """After each epoch: scores, a row of history, and a checkpoint.

    ``precision`` is the trainer's, whose state (of 16-mixed the scale of the loss) goes on from phase to phase;
    ``score`` computes a split's scores from outputs and labels; ``better`` compares two values of ``monitor``;
    ``publish`` is told of the history (for metrics.csv and loggers); ``charge`` brings ``progress.cost`` up to date;
    ``judge`` is asked whether the run is to stop. All ranks of ``group`` go through it; the first one writes.
    """

    def __init__(
        self,
        progress: Progress,
        checkpoints: Checkpoints,
        weights: Weights,
        precision: Precision,
        score: Callable[[Tensor, Tensor], Scores],
        better: Callable[[float, float | None], bool],
        monitor: str,
        publish: Callable[[Sequence[Mapping[str, Any]]], None],
        charge: Callable[[int], None],
        seed: int,
        group: Group = ALONE,
        judge: Callable[[int], bool] = lambda epoch: False,
    ):
        self.progress, self.checkpoints, self.weights, self.precision = progress, checkpoints, weights, precision
        self.score, self.better, self.monitor = score, better, monitor
        self.publish, self.charge = publish, charge
        self.seed, self.group, self.judge = seed, group, judge
        self.pause: dict[str, Any] | None = None
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let what is random in an epoch be a function of seed, epoch and rank, so that nothing before it matters."""
        self._started = time.monotonic()
        torch.manual_seed(stable_seed(self.seed, "epoch", trainer.current_epoch, self.group.rank))
        STOP.in_epoch = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Go on from a pause's random state; before each step, stop where any rank is asked to."""
        assert isinstance(pl_module, FineTuner)
        if batch_idx == 0 and self.pause is not None:
            set_random_state(self.pause["random"][self.group.rank])
        why = wanted(trainer, self.group, batch_idx)
        if why is not None:
            self._stop(trainer, pl_module, pl_module.skipped + batch_idx, why)

    def _stop(self, trainer: pl.Trainer, module: FineTuner, steps: int, why: str) -> None:
        """Keep the steps done of an epoch, and stop."""
        deaf()
        pause = {"steps": steps, "global_step": trainer.global_step, "random": random_states(self.group)}
        pause["sums"] = list(self.group.same(module.sums()).split(max(steps, 1)))
        state = self._state(module.present_optimizer().state_dict())
        if self.group.leads:
            self.checkpoints.save_pause({**state, "pause": pause})
        log.info("Stopped after step %d of epoch %d.", steps, trainer.current_epoch)
        raise Interrupted(why)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FineTuner)
        optimizer = pl_module.present_optimizer()
        rates = {group["name"].split("/")[0]: group["lr"] for group in optimizer.param_groups}
        validation = pl_module.collected()
        scores = self.score(validation["outputs"], validation["label"]) if self.group.leads else {}
        self.progress.step = trainer.global_step
        row = self._row(pl_module, trainer.current_epoch, pl_module.train_scores(), scores, rates)
        state = self.close_epoch(row, optimizer.state_dict(), scored=pl_module.alignment is None)
        if self.pause is not None:  # the phase goes on in another fit, for which FSDP leaves no optimizer
            pl_module.restore, self.pause = state["optimizer"], None

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

    def _state(self, optimizer: dict[str, Any] | None) -> dict[str, Any]:
        """Return all that a run goes on from, with what the ranks divide among them gathered; all must call it."""
        own = {"weights": self.weights.state(), "optimizer": optimizer, "precision": self.precision.state_dict()}
        return {"progress": dict(vars(self.progress)), **whole(own)}

    def close_epoch(self, row: dict[str, Any], optimizer: dict[str, Any] | None, scored: bool = True) -> dict[str, Any]:
        """Keep what an epoch ended with, as rank 0 has it, and return it.

        Raises Pruned where the run is judged not worth more.
        One that is not ``scored`` was spent on another objective than the task's: any later one is better.
        """
        progress, row = self.progress, self.group.first(row)
        value, best = row[f"val/{self.monitor}"] if scored else math.nan, progress.best
        improved = self.better(value, None if best is None else best["value"])
        if improved or best is None:
            progress.best = {"epoch": row["epoch"], "value": value}
        progress.history.append(row)
        progress.epoch = row["epoch"] + 1
        self.charge(row["epoch"])
        state = self._state(optimizer)
        if self.group.leads:
            self.checkpoints.save(row["epoch"], state, best=improved or best is None)
            self.publish(progress.history)
        if self.group.first(self.group.leads and self.judge(row["epoch"])):
            STOP.in_epoch = False
            raise Pruned(f"stopped after epoch {row['epoch']}, {self.monitor} {value:.4g} on validation")
        return state

    def solved(self, module: FineTuner, plan: Plan, index: int, splits: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Close a phase that was solved, on features that rank 0 has: one row stands for all its epochs."""
        module.eval()
        last = plan.start(index) + plan.phases[index].epochs - 1
        row: dict[str, Any] = {}
        if self.group.leads:
            with torch.no_grad():
                scores = {
                    name: self.score(module.head(features), labels) for name, (features, labels) in splits.items()
                }
            train = {name: scores["train"][name] for name in ("loss", module.task.running)}
            row = self._row(module, last, train, scores["val"], {})
        self.close_epoch(row, None)

    def start_solving(self) -> None:
        """Start the clock of a phase that is solved."""
        self._started = time.monotonic()


def fit_phase(
    trainer: pl.Trainer, module: FineTuner, data: DataModule, plan: Plan, index: int, journal: Journal
) -> None:
    """Train one phase, or what is left of it, with one fit: the optimizer, and DDP, hold exactly what trains.

    Raises RuntimeError when the ranks do not hold the same weights after it, UserError when something ended it early.
    """
    progress = journal.progress
    end = plan.start(index) + plan.phases[index].epochs
    if journal.pause is not None:  # the rest of the epoch in which it was stopped, with loaders of its own
        _fit(trainer, module, data, journal, progress.epoch + 1, journal.pause)
    if progress.epoch < end:
        _fit(trainer, module, data, journal, end, None)
    if progress.epoch != end:
        raise UserError(
            f"trainer: phase {plan.phases[index].name} ended after {progress.epoch} of {end} epochs: something in "
            "trainer.callbacks or trainer.strategy stopped it; a phase is as long as its plan says (epochs=N)."
        )
    check_equal(module, plan.phases[index].name)


def _fit(
    trainer: pl.Trainer, module: FineTuner, data: DataModule, journal: Journal, end: int, pause: dict[str, Any] | None
) -> None:
    progress = journal.progress
    done = 0 if pause is None else pause["steps"]
    data.skip_batches(done)
    module.go_on(done, pause["sums"][journal.group.rank] if done and pause is not None else None)
    go_to(trainer, progress.epoch, progress.step if pause is None else pause["global_step"])
    trainer.fit_loop.max_epochs = end
    try:
        trainer.fit(module, datamodule=data)
    finally:
        STOP.in_epoch = False
        data.skip_batches(0)


def resume(journal: Journal, plan: Plan) -> dict[str, Any] | None:
    """Go back to a run's last checkpoint, if any; return its optimizer's state where a phase goes on inside."""
    state = journal.checkpoints.paused() or journal.checkpoints.latest()
    if state is None:
        return None
    journal.pause = state.get("pause")
    journal.weights.load(state["weights"])
    if state.get("precision"):  # there is none but of 16-mixed
        journal.precision.load_state_dict(state["precision"])
    vars(journal.progress).update(state["progress"])
    epoch = journal.progress.epoch
    if journal.pause is not None:
        log.info("Going on after step %d of epoch %d.", journal.pause["steps"], epoch)
        return state["optimizer"]
    log.info("Going on after epoch %d.", epoch - 1)
    return state["optimizer"] if epoch < plan.epochs and plan.at(epoch)[1] > 0 else None


def go_to(trainer: pl.Trainer, epoch: int, step: int) -> None:
    """Let a trainer count epochs and steps from where the run stands."""
    count: Any = trainer.fit_loop.epoch_progress.current
    count.ready = count.started = count.processed = count.completed = epoch
    optimizer = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer
    optimizer.step.total.ready = optimizer.step.total.completed = step


def solve_phase(
    journal: Journal, module: FineTuner, plan: Plan, index: int, splits: Mapping[str, tuple[Tensor, Tensor]]
) -> float:
    """Solve the head for a phase in which nothing else trains; return the penalty that was best on validation.

    ``splits`` holds features [N, D] and labels [N] of train (all its views, one after the other) and val, on rank 0.
    """
    journal.start_solving()
    assert isinstance(module.head, Linear)
    found = vars(solve_head(module.head, module.task, splits["train"], splits["val"])) if journal.group.leads else None
    solution = journal.group.first(found)
    journal.group.copy(*module.head.parameters())
    journal.progress.passes[index] = solution["passes"]
    journal.solved(module, plan, index, splits)
    return solution["penalty"]
