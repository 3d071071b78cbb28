"""Where a run stands: it comes back from a checkpoint as it was."""

from pathlib import Path
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from frostline.freeze import strategies
from frostline.training.checkpoint import decode, encode
from frostline.training.state import EarlyEnd, Progress

numbers = st.integers(0, 99)
ends = st.builds(EarlyEnd, st.text("abc", min_size=1), numbers, st.integers(0, 9), st.integers(10, 20), st.text("xyz "))
rows = st.lists(st.fixed_dictionaries({"epoch": numbers, "phase": st.text("abc"), "val/loss": st.floats(0, 9)}))
best = st.none() | st.fixed_dictionaries({"epoch": numbers, "value": st.floats(0, 1)})
progresses = st.builds(
    Progress, numbers, numbers, rows, best, st.dictionaries(st.integers(0, 3), numbers), st.lists(ends, max_size=3)
)


@given(progresses)
def test_progress_comes_back_from_a_file_as_it_was(tmp_path_factory: Any, progress: Progress) -> None:
    file = tmp_path_factory.mktemp("kept") / "file"
    file.write_bytes(encode({"progress": progress.state()}))
    found = Progress()
    found.load(decode(file)["progress"])
    assert found == progress and found.epochs_done == progress.epoch - sum(end.left for end in progress.ends)


def test_an_early_end_says_what_was_planned() -> None:
    assert str(EarlyEnd("head", 2, 2, 5, "enough")) == "Phase head ended early, after 3 of 5 epochs: enough"


def test_a_run_that_has_not_begun_goes_back_to_nothing(build) -> None:
    rig = build(strategies.full)
    before = rig.tensors()
    assert rig.journal.state.restore() is None
    assert rig.progress == Progress() and all(value.equal(before[name]) for name, value in rig.tensors().items())


def test_a_run_goes_back_to_its_last_checkpoint_with_all_that_trains(build, tmp_path: Path) -> None:
    rig = build(strategies.full, epochs=2, folder=tmp_path)
    rig.fit(0)
    other = build(strategies.full, epochs=2, folder=tmp_path)
    for parameter in other.backbone.parameters():
        torch.nn.init.zeros_(parameter)
    kept = other.journal.state.restore()
    assert kept is not None and kept["optimizer"]["state"] and other.progress == rig.progress
    assert all(value.equal(rig.tensors()[name]) for name, value in other.tensors().items())


def test_a_stop_inside_an_epoch_is_newer_than_the_last_whole_one(build, tmp_path: Path) -> None:
    rig = build(strategies.full, epochs=2, folder=tmp_path)
    rig.fit(0)
    rig.checkpoints.save_pause({**rig.journal.state.collect(None), "pause": {"steps": 1}})
    kept = build(strategies.full, epochs=2, folder=tmp_path).journal.state.restore()
    assert kept is not None and kept["pause"] == {"steps": 1}
