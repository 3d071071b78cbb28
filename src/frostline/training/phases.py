"""Phases: one fit each, or one solution of the head."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from frostline.data.base import DataModule
from frostline.heads import Linear, Taps
from frostline.processes.stopping import STOP
from frostline.tasks.base import Task
from frostline.training.choose import solve_chosen
from frostline.training.journal import Journal
from frostline.training.leave_out import Samples, scale_samples
from frostline.training.lightning import set_counters
from frostline.training.module import FineTuner
from frostline.training.solve import solve_head
from frostline.training.weights import check_equal


def fit_phase(trainer: pl.Trainer, module: FineTuner, data: DataModule, index: int, journal: Journal) -> None:
    """Train one phase, or what is left of it, with one fit: the optimizer, and DDP, hold exactly what trains.

    It is left where the run is to end. A callback derived from EarlyStopping may end it early. Raises RuntimeError when
    the ranks do not hold the same weights after it, UserError when something else ended it.
    """
    progress, plan = journal.progress, journal.plan
    end = min(plan.start(index) + plan.phases[index].epochs, journal.end)
    if journal.pause is not None:  # the rest of the epoch in which it was stopped, with loaders of its own
        _fit(trainer, module, data, journal, progress.epoch + 1)
    if progress.epoch < end:
        _fit(trainer, module, data, journal, end)
    assert progress.epoch == end, f"phase {plan.phases[index].name} ended after {progress.epoch} of {end} epochs"
    check_equal(module.ranks, module.backbone, module.head, plan.phases[index].name)


def _fit(trainer: pl.Trainer, module: FineTuner, data: DataModule, journal: Journal, end: int) -> None:
    """Train up to the epoch ``end``, from where the run stands: after a pause in the middle of an epoch."""
    progress, pause = journal.progress, journal.pause
    steps = 0 if pause is None else pause["steps"]
    data.skip_batches(steps)
    module.skip_steps(steps, pause["sums"][journal.ranks.rank] if pause is not None and steps else None)
    set_counters(trainer, progress.epoch, progress.step if pause is None else pause["global_step"], end)
    try:
        trainer.fit(module, datamodule=data)
    finally:
        STOP.end_epochs()
        data.skip_batches(0)


def solve_phase(
    module: FineTuner, splits: Mapping[str, Samples], index: int, journal: Journal, taps: Sequence[str] = ()
) -> float:
    """Solve the head for a phase in which nothing else trains; return the penalty that was best.

    ``splits`` holds the samples of train and val, on rank 0; ``taps`` are the names of those that the head is given.
    """
    journal.start_clock()
    head = module.head
    assert isinstance(head, Linear | Taps)
    found = None
    if journal.ranks.leads:
        found = solve_splits(head, module.task, splits, journal.seed, taps)
    solution = journal.ranks.take_first(found)
    journal.ranks.copy(*head.parameters(), *head.buffers())
    module.eval()
    scores, validation = score_splits(head, module.task, splits) if journal.ranks.leads else ({}, {})
    journal.progress.add_solution(index, solution["passes"], solution["note"])
    journal.close_solved(index, scores, validation)
    return solution["penalty"]


def solve_splits(
    head: Linear | Taps, task: Task, splits: Mapping[str, Samples], seed: int, taps: Sequence[str]
) -> dict[str, Any]:
    """Solve a head on the samples of train and val, of which no more than some at a time need be in memory.

    Returns its solution's fields, and as ``note`` a sentence on what was chosen, if anything was.
    """
    if isinstance(head, Taps) and head.taps == "auto":
        solution, choice = solve_chosen(head, task, splits["train"], splits["val"], seed)
        return {**vars(solution), "note": choice.describe(taps)}
    train, val = splits["train"], splits["val"]
    if head.scaling is not None:
        head.scaling.fit(train.features.chunks())
        train, val = (scale_samples(samples, head.scaling) for samples in (train, val))
    found = solve_head(head, task, (train.features, train.labels), (val.features, val.labels))
    return {**vars(found), "note": None}


@torch.no_grad()
def score_splits(
    head: Linear | Taps, task: Task, splits: Mapping[str, Samples]
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return what an epoch would have of a head that was solved, and outputs and labels of val.

    That is all scores of val, of train those that it counts.
    """
    outputs = {
        name: torch.cat([head(chunk.float()) for chunk in samples.features.chunks()])
        for name, samples in splits.items()
    }
    train, val = (task.scores(outputs[name], splits[name].labels) for name in ("train", "val"))
    scores = {f"train/{name}": train[name] for name in ("loss", task.running)}
    scores |= {f"val/{name}": value for name, value in val.items()}
    return scores, {"outputs": outputs["val"], "label": splits["val"].labels}
