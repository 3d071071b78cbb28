"""The journal of a run: after every epoch a row of history and a checkpoint; and what is kept of an epoch cut short."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from frostline.data.order import make_seed
from frostline.files.decisions import Decision
from frostline.freeze.plan import Plan
from frostline.processes.stopping import STOP, Interrupted, ignore_signals
from frostline.ranks.collectives import ALONE, Ranks
from frostline.tasks.declarations import Metric
from frostline.training.module import FineTuner
from frostline.training.pause import collect_random_states, find_reason, set_random_state
from frostline.training.state import EarlyEnd, Progress, RunState

log = logging.getLogger(__name__)
HistoryRow = dict[str, Any]
NOTHING: Mapping[str, Tensor] = MappingProxyType({})
"""What is known of an epoch: "epoch", "phase", its scores and rates by name, and "seconds"."""


class Pruned(RuntimeError):
    """The run was told to stop: others promise more."""


class Paused(RuntimeError):
    """The run was told to wait: begun again, it goes on after its last epoch."""


@dataclass(frozen=True)
class Listeners:
    """Who hears of each epoch, on the first rank: ``publish`` of the whole history, ``keep`` of the outputs and labels
    of val where they are the best so far, and ``judge``, which says what the run is to do after an epoch."""

    publish: Callable[[Sequence[HistoryRow]], None]
    judge: Callable[[int], Decision] = lambda epoch: Decision.GO_ON
    keep: Callable[[Mapping[str, Tensor]], None] = lambda found: None


class Journal(Checkpoint):
    """After each epoch: scores, a row of history, and a checkpoint.

    ``monitor`` is the validation score by which the best epoch is chosen; no epoch after the first ``end`` is trained,
    of None the plan's own. All ``ranks`` go through it; the first one writes. It is a Checkpoint to Lightning, which
    calls it after all other callbacks, so that what these make of an epoch is in its checkpoint: put it last.
    """

    def __init__(
        self,
        state: RunState,
        plan: Plan,
        monitor: Metric,
        listeners: Listeners,
        seed: int,
        ranks: Ranks = ALONE,
        end: int | None = None,
    ):
        self.state, self.plan, self.monitor, self.listeners = state, plan, monitor, listeners
        self.seed, self.ranks = seed, ranks
        self.end = plan.epochs if end is None else min(end, plan.epochs)
        self.pause: dict[str, Any] | None = None
        self._started = time.monotonic()

    @property
    def progress(self) -> Progress:
        """How far the run has come."""
        return self.state.progress

    def resume(self) -> dict[str, Any] | None:
        """Go back to the run's last checkpoint, if any; return its optimizer's state where a phase goes on inside."""
        kept = self.state.restore()
        if kept is None:
            return None
        self.pause, epoch = kept.get("pause"), self.progress.epoch
        if self.pause is not None:
            log.info("Going on after step %d of epoch %d.", self.pause["steps"], epoch)
            return kept["optimizer"]
        log.info("Going on after epoch %d.", self.progress.history[-1]["epoch"])
        return kept["optimizer"] if epoch < self.plan.epochs and self.plan.at(epoch)[1] > 0 else None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let people's callbacks go on from where they were, once they are set up."""
        if stage == "fit":
            assert isinstance(pl_module, FineTuner)
            _, within = self.plan.at(trainer.current_epoch)
            scores = {phase.name: pl_module.list_scores(phase) for phase in self.plan.phases}
            self.state.companions.begin_fit(within == 0, scores)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let what is random in an epoch be a function of seed, epoch and rank, so that nothing before it matters."""
        self.start_clock()
        torch.manual_seed(make_seed(self.seed, "epoch", trainer.current_epoch, self.ranks.rank))
        STOP.begin_epoch()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Go on from a pause's random state; before each step, stop where any rank is asked to."""
        assert isinstance(pl_module, FineTuner)
        if batch_idx == 0 and self.pause is not None:
            set_random_state(self.pause["random"][self.ranks.rank])
        why = find_reason(trainer, self.ranks, batch_idx)
        if why is not None:
            self._stop(trainer, pl_module, pl_module.skipped + batch_idx, why)

    def _stop(self, trainer: pl.Trainer, module: FineTuner, steps: int, why: str) -> None:
        """Keep the steps done of an epoch, and stop."""
        ignore_signals()
        pause = {"steps": steps, "global_step": trainer.global_step, "random": collect_random_states(self.ranks)}
        pause["sums"] = list(self.ranks.gather_tensors(module.tally.rows()).split(max(steps, 1)))
        kept = self.state.collect(module.get_optimizer().state_dict())
        if self.ranks.leads:
            self.state.checkpoints.save_pause({**kept, "pause": pause})
        log.info("Stopped after step %d of epoch %d.", steps, trainer.current_epoch)
        raise Interrupted(why)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the epoch, and the phase where a callback wants it to end."""
        assert isinstance(pl_module, FineTuner)
        epoch, reason = trainer.current_epoch, self.state.companions.stop_reason()
        optimizer = pl_module.get_optimizer()
        rates = {f"lr/{group['name'].split('/')[0]}": group["lr"] for group in optimizer.param_groups}
        self.progress.count_steps(trainer.global_step)
        if reason is not None:
            self._end_phase(epoch, reason)
        row = self._row(epoch, {**pl_module.scores, **rates})
        kept = self.close_epoch(row, optimizer.state_dict(), pl_module.validation, pl_module.objective.scored)
        if self.pause is not None:  # the phase goes on in another fit, for which FSDP leaves no optimizer
            pl_module.continue_with(kept["optimizer"])
            self.pause = None

    def _row(self, epoch: int, values: Mapping[str, float]) -> HistoryRow:
        phase = self.plan.phases[self.plan.at(epoch)[0]].name
        return {"epoch": epoch, "phase": phase, **values, "seconds": round(time.monotonic() - self._started, 4)}

    def _end_phase(self, epoch: int, reason: str) -> None:
        """Note that a phase ends early, unless this is its last epoch anyway."""
        index, within = self.plan.at(epoch)
        name, planned = self.plan.phases[index].name, self.plan.phases[index].epochs
        if within + 1 < planned:
            end = EarlyEnd(name, epoch, planned - within - 1, planned, reason)
            self.progress.end_phase(end)
            log.info("%s", end)

    def close_epoch(
        self,
        row: HistoryRow,
        optimizer: dict[str, Any] | None,
        validation: Mapping[str, Tensor] = NOTHING,
        scored: bool = True,
    ) -> dict[str, Any]:
        """Keep what an epoch ended with, as rank 0 has it, and return it.

        ``validation`` are outputs and labels of val. Raises Pruned where the run is judged not worth more, Paused where
        it has to wait.
        One that is not ``scored`` was spent on another objective than the task's: any later one is better.
        """
        progress, row = self.progress, self.ranks.take_first(row)
        epoch, best = row["epoch"], progress.best
        value = row[f"val/{self.monitor.name}"] if scored else math.nan
        improved = best is None or self.monitor.beats(value, best["value"])
        progress.close_epoch(row, value if improved else None)
        self.state.costs.charge(epoch)
        kept = self.state.collect(optimizer)
        if self.ranks.leads:
            self.state.checkpoints.save(epoch, kept, best=improved)
            if improved:
                self.listeners.keep(validation)
            self.listeners.publish(progress.history)
        decision = Decision.GO_ON
        if progress.epoch < self.end:
            decision = self.ranks.take_first(self.listeners.judge(epoch) if self.ranks.leads else decision)
        if decision != Decision.GO_ON:
            STOP.end_epochs()
            error, how = (Pruned, "stopped") if decision == Decision.STOP else (Paused, "paused")
            raise error(f"{how} after epoch {epoch}, {self.monitor.name} {value:.4g} on validation")
        return kept

    def start_clock(self) -> None:
        """Start the clock of an epoch, or of a phase that is solved."""
        self._started = time.monotonic()

    def close_solved(self, index: int, scores: Mapping[str, float], validation: Mapping[str, Tensor] = NOTHING) -> None:
        """Close a phase that was solved, with the ``scores`` that rank 0 has, and outputs and labels of val.

        A row of its last epoch stands for all of them.
        """
        last = self.plan.start(index) + self.plan.phases[index].epochs - 1
        self.close_epoch(self._row(last, scores), None, validation)
