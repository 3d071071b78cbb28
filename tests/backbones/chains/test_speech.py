"""The embedded speaker encoder: the original's embedding, its cuts, its groups, its weights."""

from pathlib import Path

import pytest
import torch
from tests import configs
from tests.data.sounds import needs_voice
from torch import nn
from torch.nn import functional

from frostline.backbones.chains.speech import find_packaged_weights
from frostline.backbones.cuts import check_cut, find_cuts
from frostline.backbones.flops import count_flops
from frostline.data.inputs import Ragged
from frostline.errors import UserError

SIZE = 16000


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Return random weights under the original's names."""
    torch.manual_seed(0)
    made = {f"lstm.{name}": value for name, value in nn.LSTM(40, 256, 3).state_dict().items()}
    return made | {f"linear.{name}": value for name, value in nn.Linear(256, 256).state_dict().items()}


@pytest.fixture(scope="module")
def file(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file as resemblyzer's: wrapped, and with what its loss had."""
    path = tmp_path_factory.mktemp("weights") / "encoder.pt"
    extra = {"similarity_weight": torch.ones(1), "similarity_bias": torch.zeros(1)}
    torch.save({"step": 3, "model_state": state | extra}, path)
    return path


def original(state: dict[str, torch.Tensor], mels: torch.Tensor) -> torch.Tensor:
    """Return the embedding of mels [B, T, 40] as resemblyzer computes it."""
    lstm, linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
    for module, prefix in ((lstm, "lstm."), (linear, "linear.")):
        module.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    with torch.no_grad():
        _, (hidden, _) = lstm(mels)
        return functional.normalize(functional.relu(linear(hidden[-1])))


def test_the_last_frame_gives_the_originals_embedding(state: dict[str, torch.Tensor], file: Path) -> None:
    backbone = configs.make("backbone/voice_encoder", weights=str(file), pooling="last", seconds=1.0).eval()
    frames = backbone.example(3, SIZE)
    assert isinstance(frames, Ragged) and len(set(frames.lengths.tolist())) == 3
    with torch.no_grad():
        features = backbone(frames)
    assert isinstance(features, torch.Tensor)
    for row, length in enumerate(frames.lengths.tolist()):
        wanted = original(state, frames.values[row : row + 1, :length])[0]
        torch.testing.assert_close(functional.normalize(features, dim=-1)[row], wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last", "max", "none"])
def test_every_cut_gives_the_whole_back(pooling: str) -> None:
    backbone = configs.make("backbone/voice_encoder", weights="none", pooling=pooling, seconds=1.0).eval()
    cuts = find_cuts(backbone, SIZE)
    assert [cut.name for cut in cuts] == ["embeddings", "block1", "block2", "block3", "features"]
    assert all(check_cut(backbone, cut.name, SIZE) for cut in cuts)
    assert {group: len(names) for group, names in backbone.groups.items()} == {
        "block1": 4,
        "block2": 4,
        "block3": 4,
        "norm": 2,
    }


def test_what_it_costs_is_counted() -> None:
    """torch's own counter knows no LSTM: 101 frames through three layers and a linear one."""
    backbone = configs.make("backbone/voice_encoder", weights="none", seconds=1.0).eval()
    flops = [cut.flops for cut in find_cuts(backbone, SIZE)]
    steps = [later - earlier for earlier, later in zip(flops, flops[1:], strict=False)]
    assert flops[0] == 0 and steps[:3] == [2 * 101 * 1024 * width for width in (40 + 256, 512, 512)]
    layer, frames = nn.LSTM(40, 8, batch_first=True), torch.randn(2, 5, 40)
    with count_flops() as counter:
        layer(frames)[0].sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 10 * 32 * 48


def test_gradients_pass_frozen_layers_in_eval_mode() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone = configs.make("backbone/voice_encoder", weights="none", seconds=1.0).to(device).eval()
    frames = backbone.example(2, SIZE)
    assert isinstance(frames, Ragged)
    frames.values.requires_grad_()
    features = backbone(frames)
    assert isinstance(features, torch.Tensor)
    features.sum().backward()
    assert frames.values.grad is not None and frames.values.grad.any()


def test_weights_that_are_not_its_own_are_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"model_state": {**state, "extra.weight": torch.ones(1)}}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"unexpected: extra\.weight"):
        configs.make("backbone/voice_encoder", weights=str(tmp_path / "other.pt"))
    with pytest.raises(UserError, match="'pretraind' is not known"):
        configs.make("backbone/voice_encoder", weights="pretraind")


def test_missing_weights_name_the_command_that_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frostline.backbones.chains.speech.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --no-deps resemblyzer==0\.1\.4 "):
        configs.make("backbone/voice_encoder")


@needs_voice
def test_the_packages_weights_load_and_none_of_its_code_runs() -> None:
    import sys

    backbone = configs.make("backbone/voice_encoder")
    assert "resemblyzer" not in sys.modules and find_packaged_weights().name == "pretrained.pt"
    assert (
        backbone.fingerprint()
        != configs.make("backbone/voice_encoder", weights="none").fingerprint()
        != configs.make("backbone/voice_encoder", pretrained=False).fingerprint()
    )
