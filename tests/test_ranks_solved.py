"""A head solved by rank 0, on features that all ranks have computed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from frostline.config.compose import compose, resolve
from frostline.launchers.dispatch import Outcome, dispatch

pytestmark = pytest.mark.slow


def solved(folder: Path, ranks: int, *overrides: str) -> Outcome:
    network = ["backbone=timm", "backbone.name=test_vit", "backbone.weights=none", "trainer=ddp_cpu"]
    data = ["data=digits", "data.size=32", "data.num_per_class=11", "launcher.threads=1"]
    given = [*network, *data, f"trainer.devices={ranks}", f"outputs={folder}", "freeze=linear_probe", *overrides]
    outcome = dispatch(resolve(compose("run", [*given, "head.solver=lbfgs", "epochs=2"])))
    assert outcome.record["status"] == "done", outcome.record["reason"]
    return outcome


def weights(outcome: Outcome) -> dict[str, torch.Tensor]:
    manifest = json.loads((outcome.folder / "checkpoints" / "manifest.json").read_text())
    return load_file(outcome.folder / "checkpoints" / manifest["saved"][-1]["file"])


@pytest.mark.parametrize("views", [1, 2])
def test_a_head_is_solved_on_features_that_three_ranks_computed_as_one_does(views: int, tmp_path: Path) -> None:
    """Without a cache the first rank is sent them. Of validation samples there are fewer than one rank's batch."""
    options = ["augment=light", f"data.views={views}", "cache.enabled=false"]
    alone, together = (solved(tmp_path, ranks, *options) for ranks in (1, 3))
    assert together.record["metrics"]["test"] == pytest.approx(alone.record["metrics"]["test"], abs=1e-3)
    one, other = weights(together), weights(alone)
    assert one.keys() == other.keys() and len(one)
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], atol=1e-3, rtol=1e-3)
