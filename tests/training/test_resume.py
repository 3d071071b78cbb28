"""What a run goes on with, beside its weights: moments laid out as their weights, and the scale of the loss."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from tests.tuners import Asked

from frostline.freeze import strategies
from frostline.freeze.plan import Phase, Plan, Train
from frostline.processes.stopping import Interrupted, interruptible
from frostline.training.checkpoint import decode


@pytest.mark.parametrize("how", [{"foreach": True}, {"fused": True}])
def test_moments_come_back_in_the_layout_of_their_weights(build, tmp_path: Path, how: dict[str, Any]) -> None:
    """Or a foreach step leaves its fast path, and a fused one pairs each weight with another's moment."""

    def rig_in(folder: Path) -> Any:
        return build(strategies.full, epochs=2, folder=folder, optimizer=partial(torch.optim.AdamW, **how))

    whole = rig_in(tmp_path / "whole")
    began = {name: value.stride() for name, value in whole.tensors().items()}
    stops = whole.photograph()
    whole.fit(0)
    rig = rig_in(stops[0])
    rig.fit(0, restore=rig.resume())
    (optimizer,) = rig.trainer.optimizers
    held = [(p, value) for p, state in optimizer.state.items() for value in state.values() if value.shape == p.shape]
    assert sum(p.is_contiguous(memory_format=torch.channels_last) for p, _ in held if p.ndim == 4) > 10
    assert all(value.stride() == p.stride() for p, value in held)
    for name, value in rig.tensors().items():
        assert torch.equal(value, whole.tensors()[name]), name
        assert value.stride() == began[name], name


def two_phases(groups: Sequence[str], epochs: int) -> Plan:
    """The head for two epochs, then everything for two."""
    everything = {name: Train() for name in (*groups, "head")}
    return Plan((Phase("head", 2, {"head": Train()}), Phase("all", 2, everything)), tuple(groups))


def scaled(build: Any, folder: Path) -> Any:
    """A rig in half precision, on a processor; two steps that are done double the scale of the loss.

    Of its eight steps the fifth and the sixth, the first ones of the second phase, overflow and are skipped.
    """
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=2)
    return build(two_phases, folder=folder, precision=MixedPrecision("16-mixed", "cpu", scaler))


def go_on(rig: Any) -> Any:
    """Train what is left of a rig's plan."""
    optimizer = rig.resume()
    with interruptible():
        for index in range(rig.plan.at(rig.progress.epoch)[0], 2):
            rig.fit(index, restore=optimizer)
            optimizer = None
    return rig


def check_equal(one: Any, other: Any) -> None:
    """Assert that two rigs have ended alike."""
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())
    assert one.trainer.precision_plugin.state_dict() == other.trainer.precision_plugin.state_dict()
    assert one.progress.step == other.progress.step


def test_the_scale_of_the_loss_goes_on_from_phase_to_phase_and_from_sitting_to_sitting(build, tmp_path: Path) -> None:
    whole = scaled(build, tmp_path / "whole")
    stops = whole.photograph()
    go_on(whole)
    kept = [decode(max((stop / "checkpoints").glob("*.safetensors"))) for stop in stops]
    steps = [max([0, *(each["step"] for each in state["optimizer"]["state"].values())]) for state in kept]
    assert steps == [2, 4, 0, 2], "what the scaler skips, the optimizer does not count"
    assert [state["precision"]["scale"] / 2**16 for state in kept] == [2, 4, 1, 2]
    assert [state["progress"]["step"] for state in kept] == [2, 4, 6, 8]
    for stop in stops[:3]:
        check_equal(go_on(scaled(build, stop)), whole)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_the_scale_of_the_loss_goes_on_inside_an_epoch(build, tmp_path: Path, epoch: int) -> None:
    cut = scaled(build, tmp_path / "cut")
    cut.trainer.callbacks.append(Asked(epoch))
    with pytest.raises(Interrupted, match="asked"):
        go_on(cut)
    assert (tmp_path / "cut" / "checkpoints" / "pause.safetensors").exists()
    check_equal(go_on(scaled(build, tmp_path / "cut")), go_on(scaled(build, tmp_path / "whole")))
