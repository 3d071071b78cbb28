"""Where a run stands: all that it goes on from, and where that is kept."""

import logging
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytorch_lightning as pl

from frostline.training.callbacks import Companions
from frostline.training.checkpoint import Checkpoints
from frostline.training.sharded import gather_whole
from frostline.training.weights import Weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarlyEnd:
    """A phase that a callback ended: after which epoch, and how many of its ``planned`` epochs were left."""

    phase: str
    epoch: int
    left: int
    planned: int
    reason: str

    def __str__(self) -> str:
        done = self.planned - self.left
        return f"Phase {self.phase} ended early, after {done} of {self.planned} epochs: {self.reason}"


@dataclass
class Progress:
    """How far a run has come.

    ``epoch`` is the next epoch; ``history`` has a row for each epoch done; ``best`` is the best epoch, with its
    value; ``passes`` says for each phase that was solved how often its solver went over the features, ``choices`` what
    it has chosen, where it had a choice; ``ends`` which phases were ended early: the epochs that were left of them have
    no number, since the plan says which is which.
    """

    epoch: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, float] | None = None
    passes: dict[int, int] = field(default_factory=dict)
    ends: list[EarlyEnd] = field(default_factory=list)
    choices: dict[int, str] = field(default_factory=dict)

    @property
    def epochs_done(self) -> int:
        """How many epochs were trained, or solved in their place."""
        return self.epoch - sum(end.left for end in self.ends)

    def list_notes(self) -> list[str]:
        """Return what people should be told of it."""
        return [*self.choices.values(), *map(str, self.ends)]

    def count_steps(self, step: int) -> None:
        """Note how many steps the optimizers have taken by now."""
        self.step = step

    def add_solution(self, index: int, passes: int, choice: str | None) -> None:
        """Note how often the solver of a phase went over the features, and what it has chosen."""
        self.passes[index] = passes
        if choice is not None:
            self.choices[index] = choice

    def end_phase(self, end: EarlyEnd) -> None:
        """Note that the phase of the epoch that is about to be closed ends with it."""
        self.ends.append(end)

    def close_epoch(self, row: dict[str, Any], best: float | None) -> None:
        """Take in the row of an epoch that is done; ``best`` is its value where there was none better."""
        epoch = row["epoch"]
        if best is not None:
            self.best = {"epoch": epoch, "value": best}
        self.history.append(row)
        self.epoch = epoch + 1 + sum(end.left for end in self.ends if end.epoch == epoch)

    def state(self) -> dict[str, Any]:
        """Return it as a checkpoint holds it."""
        return {**vars(self), "ends": [dict(vars(end)) for end in self.ends]}

    def load(self, state: dict[str, Any]) -> None:
        """Be as it was when ``state`` was returned."""
        vars(self).update(state, ends=[EarlyEnd(**end) for end in state["ends"]])


class CostKeeper(Protocol):
    """What a run has cost so far, in all its sittings."""

    def charge(self, epoch: int) -> None:
        """Charge the time since the last charge to the phase of ``epoch``. All ranks call it."""
        ...

    def state(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        ...


class RunState:
    """All that a run goes on from: its progress, weights, costs, and what its Trainer keeps from fit to fit.

    That is the precision's state (of 16-mixed the scale of the loss) and that of people's own callbacks.
    """

    def __init__(self, trainer: pl.Trainer, weights: Weights, checkpoints: Checkpoints, costs: CostKeeper):
        self.precision, self.companions = trainer.precision_plugin, Companions(trainer)
        self.weights, self.checkpoints, self.costs = weights, checkpoints, costs
        self.progress = Progress()

    def collect(self, optimizer: dict[str, Any] | None) -> dict[str, Any]:
        """Return it, with what the ranks divide among them gathered, and the optimizer's state; all must call this."""
        own = {"weights": self.weights.state(), "optimizer": optimizer, "precision": self.precision.state_dict()}
        kept = {"progress": self.progress.state(), "costs": self.costs.state(), "callbacks": self.companions.state()}
        return {**kept, **gather_whole(own)}

    def restore(self) -> dict[str, Any] | None:
        """Go back to the last checkpoint and return what it holds, or None where there is none."""
        kept = self.checkpoints.load_pause() or self.checkpoints.load_latest()
        if kept is None:
            return None
        self.weights.load(kept["weights"])
        if kept.get("precision"):  # there is none but of 16-mixed
            self.precision.load_state_dict(kept["precision"])
        self.progress.load(kept["progress"])
        self.costs.load(kept["costs"])
        self.companions.load(kept["callbacks"])
        return kept
