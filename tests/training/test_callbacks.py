"""People's own callbacks: they find the scores, EarlyStopping ends phases, and what they remember survives a kill."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.callbacks import Callback, EarlyStopping
from tests.finished_runs import finished, rows
from tests.tuners import Asked, Scripted

from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.freeze import strategies
from frostline.freeze.plan import Phase, Plan, Train
from frostline.processes.stopping import Interrupted, stopping_on_signals
from frostline.training.callbacks import check_monitor

# By epoch. The first phase has epochs 0 to 4, of which 3 and 4 are left; the second 5 to 9, of which 9 is left.
VALUES = [0.5, 0.4, 0.3, 0.1, 0.2, 0.1, 0.1]
EPOCHS = [0, 1, 2, 5, 6, 7, 8]


def stopper() -> EarlyStopping:
    return EarlyStopping("val/accuracy", mode="max", patience=2)


def two_phases(groups: Sequence[str], epochs: int) -> Plan:
    """The head for five epochs, then the last group too."""
    head = Phase("head", 5, {"head": Train()})
    return Plan((head, Phase("top", 5, {groups[-1]: Train(), "head": Train()})), tuple(groups))


def make_rig(build: Any, folder: Path, done: int = 0, *more: Callback) -> Any:
    """Return a rig of two phases that both end early, of which so many epochs are done."""
    return build(two_phases, folder=folder, task=Scripted(VALUES[done:]), callbacks=[stopper(), *more])


def train(rig: Any) -> Any:
    """Train what is left of a rig's plan."""
    optimizer = rig.resume()
    with stopping_on_signals():
        for index in range(2):
            if rig.progress.epoch < rig.plan.start(index) + 5:
                rig.fit(index, restore=optimizer)
                optimizer = None
    return rig


def check_alike(one: Any, other: Any) -> None:
    """Assert that two rigs have ended alike."""
    for name, value in one.tensors().items():
        assert value.equal(other.tensors()[name]), name
    histories = [[{**row, "seconds": 0} for row in rig.progress.history] for rig in (one, other)]
    assert histories[0] == histories[1]
    assert one.progress.ends == other.progress.ends and one.progress.step == other.progress.step


def test_a_run_of_one_phase_ends_with_it(build) -> None:
    rig = build(strategies.full, epochs=9, task=Scripted(VALUES), callbacks=[stopper()])
    rig.fit(0)
    assert [row["epoch"] for row in rig.rows] == [0, 1, 2]
    assert (rig.progress.epoch, rig.progress.epochs_done, rig.progress.step) == (9, 3, 6)
    (said,) = map(str, rig.progress.ends)
    assert said.startswith("Phase all ended early, after 3 of 9 epochs: Monitored metric val/accuracy did not improve")


def test_the_next_phase_begins_where_it_was_planned_and_is_watched_anew(build, tmp_path: Path) -> None:
    rig = train(make_rig(build, tmp_path))
    assert [row["epoch"] for row in rig.rows] == EPOCHS
    assert [row["phase"] for row in rig.rows] == ["head"] * 3 + ["top"] * 4
    assert [(end.phase, end.epoch, end.left) for end in rig.progress.ends] == [("head", 2, 2), ("top", 8, 1)]
    assert (rig.progress.epoch, rig.progress.epochs_done) == (10, 7)
    assert rig.progress.best == {"epoch": 0, "value": 0.5}


def test_a_phase_that_would_end_anyway_does_not_end_early(build) -> None:
    rig = build(strategies.full, epochs=3, task=Scripted(VALUES), callbacks=[stopper()])
    rig.fit(0)
    assert (rig.progress.epoch, rig.progress.ends) == (3, [])


def test_what_callbacks_remember_survives_a_kill_after_any_epoch(build, tmp_path: Path) -> None:
    whole = make_rig(build, tmp_path / "whole")
    stops = whole.photograph()
    train(whole)
    assert len(stops) == len(EPOCHS)
    for done, stop in enumerate(stops, 1):
        check_alike(train(make_rig(build, stop, done)), whole)


@pytest.mark.parametrize(("epoch", "done"), [(2, 2), (5, 3), (7, 5)])
def test_what_callbacks_remember_survives_a_stop_inside_an_epoch(build, tmp_path: Path, epoch: int, done: int) -> None:
    with pytest.raises(Interrupted, match="asked"):
        train(make_rig(build, tmp_path / "cut", 0, Asked(epoch)))
    check_alike(train(make_rig(build, tmp_path / "cut", done)), train(make_rig(build, tmp_path / "whole")))


class Reading(Callback):
    """Notes what it finds of the scores after validation and at the end of each epoch."""

    def __init__(self) -> None:
        self.found: list[dict[str, float]] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer)

    def _note(self, trainer: Any) -> None:
        self.found.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def test_callbacks_find_all_scores_of_the_epoch_to_the_last_digit(build) -> None:
    reading = Reading()
    rig = build(strategies.full, epochs=2, callbacks=[reading])
    rig.fit(0)
    expected = [{n: v for n, v in row.items() if n.startswith(("train/", "val/"))} for row in rig.rows]
    assert {"train/loss", "val/accuracy", "val/loss"} <= set(expected[0])
    assert reading.found == [expected[0]] * 2 + [expected[1]] * 2


class Stopping(Callback):
    """Stops the Trainer, at the end of an epoch or in its middle."""

    def __init__(self, epoch: int, middle: bool) -> None:
        self.epoch, self.middle = epoch, middle

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.middle and trainer.current_epoch == self.epoch:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == self.epoch:
            trainer.should_stop = True


@pytest.mark.parametrize(("epoch", "middle"), [(0, False), (0, True), (1, True)])
def test_a_phase_that_something_else_ends_is_no_finished_run(build, epoch: int, middle: bool) -> None:
    """Promise 45; in the middle of its last epoch as well."""
    rig = build(strategies.full, epochs=2, callbacks=[Stopping(epoch, middle)])
    with pytest.raises(UserError, match=rf"^trainer\.callbacks: something stopped the Trainer in epoch {epoch}; "):
        rig.fit(0)
    assert rig.progress.epoch == epoch


def test_a_score_that_nobody_takes_is_said_before_the_first_epoch(build) -> None:
    rig = build(strategies.full, epochs=2, callbacks=[EarlyStopping("val_loss")])
    with pytest.raises(
        UserError, match=r"^trainer\.callbacks: EarlyStopping\.monitor: 'val_loss' .* val/loss.* train/loss"
    ):
        rig.fit(0)
    assert rig.rows == []


@pytest.mark.parametrize("strict", [True, False])
def test_a_phase_whose_scores_nobody_knows_yet_may_have_any(strict: bool) -> None:
    known = {"align": ["val/loss", "train/distance"], "refine": None}
    watched = EarlyStopping("train/mine", strict=strict)
    if strict:
        with pytest.raises(UserError, match=r"monitor: train/mine is not counted in the phase align; expected one of"):
            check_monitor(watched, known)
    else:
        check_monitor(watched, known)
    check_monitor(watched, {"align": None, "refine": ["train/mine"]})


class Remembering(Callback):
    """Remembers what no checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]:
        return {"path": Path("x")}


def test_a_state_that_no_checkpoint_can_hold_is_refused(build) -> None:
    rig = build(strategies.full, epochs=1, callbacks=[Remembering()])
    with pytest.raises(UserError, match=r"^trainer\.callbacks: Remembering\.state_dict\(\) holds what no checkpoint"):
        rig.fit(0)


SMALL = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "data.num_per_class=5", "data.size=32"]
CALLBACK = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/accuracy, mode: max"


def test_a_run_that_was_stopped_early_says_so_and_costs_what_was_done(tmp_path: Path) -> None:
    """A threshold that any score reaches ends the phase after its first epoch."""
    options = [*SMALL, "freeze=full", "trainer.accelerator=cpu", "schedule=constant", f"outputs={tmp_path}"]
    early = f"+trainer.callbacks=[{CALLBACK}, stopping_threshold: -1.0}}]"
    record, folder = finished(resolve(compose("run", [*options, "epochs=3", early])))
    short, _ = finished(resolve(compose("run", [*options, "epochs=1"])))
    assert record["status"] == "done" and record["epochs"] == 1 and record["plan"]["phases"][0]["epochs"] == 3
    assert any(note.startswith("Phase all ended early, after 1 of 3 epochs: ") for note in record["notes"])
    assert len(rows(folder / "metrics.csv")) == 1
    for name in ("forward_flops", "backward_flops"):
        assert record["cost"][name] == short["cost"][name] > 0
