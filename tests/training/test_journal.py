"""After each epoch: a row of history, a checkpoint, the best epoch so far, and a word from who judges."""

import math
from typing import Any

import pytest
from tests.tuners import Scripted

from frostline.files.decisions import Decision
from frostline.freeze import strategies
from frostline.training.journal import Journal, Listeners, Pruned


def test_the_best_epoch_is_marked_and_a_number_beats_nan(build) -> None:
    rig = build(strategies.linear_probe, epochs=4, task=Scripted([float("nan"), 0.2, 0.5, 0.4]))
    rig.fit(0)
    assert rig.progress.best == {"epoch": 2, "value": 0.5}
    best = rig.checkpoints.load_best()
    assert best is not None and best["progress"]["epoch"] == 3


def test_each_epoch_has_a_row_and_a_checkpoint_that_knows_it(build) -> None:
    rig = build(strategies.full, epochs=3)
    known: list[tuple[int, int]] = []
    rig.on_row.append(lambda: known.append((len(rig.rows), rig.checkpoints.load_latest()["progress"]["epoch"])))
    rig.fit(0)
    assert known == [(1, 1), (2, 2), (3, 3)], "what is published stands in a checkpoint already"
    assert [(row["epoch"], row["phase"]) for row in rig.rows] == [(0, "all"), (1, "all"), (2, "all")]
    assert {"train/loss", "val/accuracy", "lr/head", "seconds"} <= set(rig.rows[0])


def judging(rig: Any, last: int) -> Journal:
    """Give a rig another journal, which is told to stop after the epoch ``last``."""
    old = rig.journal
    listeners = Listeners(old.listeners.publish, lambda epoch: Decision.STOP if epoch == last else Decision.GO_ON)
    rig.journal = Journal(old.state, old.plan, old.monitor, listeners, seed=0)
    rig.trainer.callbacks[rig.trainer.callbacks.index(old)] = rig.journal
    return rig.journal


def test_a_run_that_is_judged_stops_after_that_epoch_and_keeps_it(build) -> None:
    rig = build(strategies.full, epochs=3, task=Scripted([0.2, 0.4, 0.3]))
    judging(rig, last=1)
    with pytest.raises(Pruned, match="stopped after epoch 1, accuracy 0.4 on validation"):
        rig.fit(0)
    assert len(rig.rows) == 2 and rig.checkpoints.load_latest()["progress"]["epoch"] == 2


def test_after_the_last_epoch_nobody_is_asked(build) -> None:
    rig = build(strategies.full, epochs=2, task=Scripted([0.2, 0.4]))
    judging(rig, last=1)
    rig.fit(0)
    assert rig.progress.epoch == 2


NAN = math.nan


@pytest.mark.parametrize(
    ("values", "best"),
    [([0.5], 0), ([NAN, 0.0], 1), ([NAN, NAN], 0), ([0.2, 0.2, 0.1], 0), ([0.2, NAN, 0.3, 0.3], 2), ([0.9, 0.1], 0)],
)
def test_the_best_epoch_is_the_first_of_the_highest_numbers(build, values: list[float], best: int) -> None:
    journal = build(strategies.full, epochs=len(values)).journal
    for epoch, value in enumerate(values):
        journal.close_epoch({"epoch": epoch, "val/accuracy": value}, None)
    assert journal.progress.best is not None and journal.progress.best["epoch"] == best
    assert journal.progress.epoch == len(values)


def test_an_epoch_of_another_objective_is_best_only_until_there_is_one_of_the_tasks(build) -> None:
    journal = build(strategies.full, epochs=2).journal
    journal.close_epoch({"epoch": 0, "val/accuracy": 1.0}, None, scored=False)
    journal.close_epoch({"epoch": 1, "val/accuracy": 0.1}, None)
    assert journal.progress.best == {"epoch": 1, "value": 0.1}
