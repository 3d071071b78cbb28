"""One sitting of a run: what it is set up of, before anything trains."""

import time
from pathlib import Path

import pytest
import torch
from tests.small_runs import make_run

from frostline.errors import UserError
from frostline.runs.build import Builder
from frostline.runs.experiment import run_experiment
from frostline.runs.setup import Experiment, set_up, synchronise


def begin(outputs: Path, *overrides: str) -> Experiment:
    config, folder = make_run(outputs, *overrides)
    return set_up(config, folder, Builder(), time.monotonic())


def test_nothing_is_decoded_and_nothing_written_yet(tmp_path: Path) -> None:
    found = begin(tmp_path, "freeze=lp_ft")
    assert found.journal.progress.epoch == 0 and found.trainer.callbacks[-1] is found.journal  # type: ignore[attr-defined]
    assert [choice.cut is not None for choice in found.policy.choices] == [True, False]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_trial_knows_no_test_split(tmp_path: Path) -> None:
    assert begin(tmp_path).splits == ("train", "val", "test")
    assert begin(tmp_path, "test=false").splits == ("train", "val")


def test_the_plan_is_shown_with_the_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = begin(tmp_path, "freeze=last_k")
    found.show_plan()
    said = capsys.readouterr().err
    assert found.made.data.summary in said and "Plan: 2 epochs in 1 phase" in said and "random weights" in said


def test_the_best_epoch_comes_back_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    config, folder = make_run(tmp_path, "freeze=full")
    record = run_experiment(config, folder.name, folder)
    again = set_up(config, folder, Builder(), time.monotonic())
    again.journal.resume()
    assert again.find_best_epoch() == record.best_epoch
    again.load_best()
    for path in (folder / "checkpoints").glob("*.safetensors"):
        path.write_bytes(b"no checkpoint")
    with pytest.raises(OSError, match="the best checkpoint is damaged; run again with force=true"):
        again.load_best()


def test_batchnorm_over_ranks_is_refused_on_processors(tmp_path: Path) -> None:
    found = begin(tmp_path, "trainer.sync_batchnorm=true")  # alone there is nobody to synchronise with
    assert found.ranks.world == 1
    with pytest.raises(UserError, match=r"^trainer\.sync_batchnorm: torch synchronises BatchNorm on GPUs alone"):
        synchronise(found.made, torch.device("cpu"))
