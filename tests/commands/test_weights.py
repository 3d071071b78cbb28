"""Weights that cannot be used, at the command line: exit code 2 and one sentence, and nothing was trained."""

from pathlib import Path

import pytest
import timm
import torch

from frostline.commands import main


@pytest.mark.parametrize("fault", ["nan", pytest.param("twice", marks=pytest.mark.slow)])
def test_a_run_names_what_is_wrong_with_its_weights(
    fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 44."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    state, other = (timm.create_model("test_resnet").state_dict() for _ in range(2))
    if fault == "nan":
        state["conv1.0.weight"][0, 0, 0, 0] = torch.nan
    content = {"state_dict": state, **({"state_dict_ema": other} if fault == "twice" else {})}
    torch.save(content, "weights.ckpt")
    network = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=weights.ckpt"]
    small = ["data=digits", "data.num_per_class=5", "data.size=32", "epochs=1", "trainer.accelerator=cpu"]
    assert main(["run", *network, *small]) == 2
    said = [line for line in capfd.readouterr().err.splitlines() if "backbone.weights: " in line]
    words = "conv1.0.weight" if fault == "nan" else "more than once (state_dict; state_dict_ema)"
    assert said and all(words in line for line in said)
    assert not list(tmp_path.rglob("metrics.csv"))
