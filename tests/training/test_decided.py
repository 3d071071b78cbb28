"""A run that somebody judges: it pauses and goes on as if it had not, ends where it is told, and shows its outputs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.training.conftest import Configure

from frostline.config.schema import Run
from frostline.files.csv_tables import read_csv
from frostline.files.decisions import Decision, write_decision
from frostline.launchers.worker import attempt
from frostline.results.record import Record
from frostline.results.store import run_id
from frostline.results.validation import read_validation
from frostline.training.checkpoint import Checkpoints, encode

EPOCHS = 4
JUDGED = ["judged=true", "test=false", f"epochs={EPOCHS}"]
Told = Callable[[Run, Path, Decision, int], Record]


@pytest.fixture
def told() -> Told:
    """Return how a run is done by a worker that is told what to do after an epoch."""

    def run(config: Run, folder: Path, decision: Decision, epoch: int) -> Record:
        write_decision(folder, epoch, decision)
        return attempt(config, folder)

    return run


def read_weights(folder: Path) -> bytes:
    """Return the weights of a run's last epoch."""
    state = Checkpoints(folder / "checkpoints").load_latest()
    assert state is not None
    return encode(state["weights"])


def read_scores(folder: Path) -> list[dict[str, str]]:
    """Return metrics.csv without its seconds."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_csv(folder / "metrics.csv")]


@pytest.mark.parametrize("freeze", ["lp_ft", "last_k"])
def test_a_run_that_pauses_after_every_epoch_comes_to_the_same(
    configure: Configure, told: Told, tmp_path: Path, freeze: str
) -> None:
    whole, folder = configure(*JUDGED, f"freeze={freeze}", f"outputs={tmp_path / 'whole'}")
    assert told(whole, folder, Decision.GO_ON, EPOCHS).status == "done"
    parts, paused = configure(*JUDGED, f"freeze={freeze}", f"outputs={tmp_path / 'parts'}")
    ends = [told(parts, paused, Decision.PAUSE, epoch) for epoch in range(EPOCHS)]
    assert {one.status for one in ends[:-2]} == {"paused"} and ends[-1].status == "done"
    assert ends[0].reason is not None and ends[0].reason.startswith("paused after epoch")
    assert read_scores(paused) == read_scores(folder)
    assert read_weights(paused) == read_weights(folder)
    found, expected = read_validation(paused), read_validation(folder)
    assert found is not None and expected is not None
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_what_is_kept_of_validation_is_of_the_best_epoch(configure: Configure, told: Told) -> None:
    config, folder = configure(*JUDGED, "freeze=full", "optimizer.lr=0.05")
    record = told(config, folder, Decision.GO_ON, EPOCHS)
    found = read_validation(folder)
    assert found is not None
    right = (found["outputs"].argmax(dim=1) == found["label"]).double().mean()
    assert float(right) == pytest.approx(record.metrics["val"]["accuracy"])
    assert len(found["label"]) == record.data["counts"]["val"]


def test_what_nobody_judges_keeps_nothing(configure: Configure, told: Told) -> None:
    config, folder = configure("epochs=2", "test=false")
    assert told(config, folder, Decision.PAUSE, 0).status == "done"
    assert read_validation(folder) is None


@pytest.mark.parametrize("damage", [b"", b"nothing of the kind", None])
def test_outputs_that_cannot_be_read_are_none(configure: Configure, told: Told, damage: bytes | None) -> None:
    config, folder = configure(*JUDGED)
    told(config, folder, Decision.PAUSE, EPOCHS)
    path = folder / "validation.safetensors"
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    assert read_validation(folder) is None


def test_a_run_that_ends_before_its_plan_has_its_first_epochs_and_tests_the_best(configure: Configure) -> None:
    whole, folder = configure(f"epochs={EPOCHS}", "freeze=full")
    short, ended = configure(f"epochs={EPOCHS}", "freeze=full", "stop_after=2")
    assert run_id(whole) != run_id(short)
    assert attempt(whole, folder).status == "done"
    record = attempt(short, ended)
    assert record.status == "done" and record.epochs == 2 and "accuracy" in record.metrics["test"]
    assert record.notes[-1] == f"Trained for 2 of {EPOCHS} epochs, as stop_after says."
    assert read_scores(ended) == read_scores(folder)[:2]


def test_a_phase_that_begins_after_the_end_is_not_entered_and_a_solved_one_is_whole(configure: Configure) -> None:
    config, folder = configure("epochs=10", "freeze=lp_ft", "stop_after=1")
    record = attempt(config, folder)
    assert record.status == "done" and len(read_scores(folder)) == 1
    solved = record.plan["phases"][0]["epochs"]
    assert solved > 1 and record.notes[-1] == f"Trained for {solved} of 10 epochs, as stop_after says."
