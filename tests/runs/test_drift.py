"""What a run tells of its network: similarity by its published properties, and nothing changed by looking."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import configs
from tests.small_runs import run
from torch import Tensor

from frostline.backbones.cuts import find_cuts
from frostline.config.schema import Run
from frostline.runs import experiment, outcome
from frostline.runs.build import Builder
from frostline.runs.drift import cka, group_outputs


def test_cached_and_uncached_runs_tell_the_same(tmp_path: Path) -> None:
    """What was computed in the one was spared in the other; what is frozen has not moved and looks as it did."""
    cached, folder = run(tmp_path, "freeze=last_k")
    plain_run, _ = run(tmp_path, "freeze=last_k", "cache.enabled=false")
    count, cost, other = cached["data"]["counts"], cached["cost"], plain_run["cost"]
    passes = 2 * (count["train"] + count["val"]) + count["test"]
    network = configs.make("backbone/timm", name="test_resnet", weights="none", size=32, options={})
    assert other["forward_flops"] == passes * (find_cuts(network, 32)[-1].flops + 2 * network.num_features * 10)
    assert cost["forward_flops"] + cost["flops_saved"] == other["forward_flops"]
    assert cost["flops_saved"] > 0 == other["flops_saved"]
    assert cost["backward_flops"] == other["backward_flops"] > 0
    best = next(row for row in json.loads((folder / "checkpoints/manifest.json").read_text())["saved"] if row["best"])
    assert cost["checkpoint_bytes"] == (folder / "checkpoints" / best["file"]).stat().st_size
    *frozen, last = cached["plan"]["groups"]
    assert all(cached["moved"][group] == 0 and cached["similarity"][group] == 1 for group in frozen)
    assert 0 < cached["moved"][last] < 1 and 0 < cached["similarity"][last] < 1
    assert cached["moved"] == pytest.approx(plain_run["moved"], abs=1e-4)
    assert cached["similarity"] == pytest.approx(plain_run["similarity"], abs=1e-3)


def features(seed: int, samples: int, width: int) -> Tensor:
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic(k_NN: Tensor, l_NN: Tensor) -> Tensor:
    """Gretton et al. 2005, as in equation 3 of Kornblith et al. 2019: tr(KHLH) / (n - 1)^2."""
    n = len(k_NN)
    centring = torch.eye(n, dtype=torch.float64) - torch.ones(n, n, dtype=torch.float64) / n
    return torch.trace(k_NN @ centring @ l_NN @ centring) / (n - 1) ** 2


sizes = {"seed": st.integers(0, 1000), "n": st.integers(3, 30), "p": st.integers(1, 40), "q": st.integers(1, 40)}


@given(**sizes)
def test_cka_is_hsic_normalised_in_either_form(seed: int, n: int, p: int, q: int) -> None:
    x, y = features(seed, n, p), features(seed + 1, n, q) + features(seed, n, p)[:, :1]
    k, m = x @ x.T, y @ y.T
    assert cka(x, y) == pytest.approx(float(hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt()), abs=1e-9)
    assert cka(x, y) == pytest.approx(cka(y, x)) and -1e-9 <= cka(x, y) <= 1 + 1e-9


@given(**sizes, scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_cka_does_not_see_rotation_scale_or_shift(
    seed: int, n: int, p: int, q: int, scale: float, shift: float
) -> None:
    x, y = features(seed, n, p), features(seed + 1, n, q)
    rotation, _ = torch.linalg.qr(features(seed + 2, p, p))
    assert cka(x, x) == pytest.approx(1)
    assert cka(scale * x @ rotation + shift, y) == pytest.approx(cka(x, y), abs=1e-7)


def test_cka_sees_what_is_not_a_rotation() -> None:
    x = features(0, 200, 4)
    assert cka(x, features(1, 200, 4)) < 0.1
    assert cka(x, x * torch.tensor([1.0, 10.0, 1.0, 1.0])) < 0.9
    assert cka(x, torch.ones(200, 4)) != cka(x, torch.ones(200, 4)), "NaN for features that do not vary"


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_each_group_has_an_output_of_its_own(name: str) -> None:
    backbone = configs.make("backbone/timm", name=name, weights="none", size=32, options={})
    outputs = group_outputs(backbone, find_cuts(backbone, 32))
    assert list(outputs) == list(backbone.groups)
    assert outputs[list(outputs)[-1]].name == "features"
    seen: set[str] = set()
    for group, cut in outputs.items():
        seen |= set(backbone.groups[group])
        assert cut.parameters <= seen and cut.parameters & set(backbone.groups[group])


def test_the_distance_is_that_of_the_weights_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking changes neither weights nor the random state; the distance is the one between what is there and was."""
    seen = {}
    examine = outcome.examine

    def watched(parts, record, logits, labels):
        backbone = parts.made.backbone
        state = {name: value.clone() for name, value in backbone.state_dict().items()}
        generator = torch.get_rng_state()
        found = examine(parts, record, logits, labels)
        assert torch.equal(generator, torch.get_rng_state())
        assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
        seen.update(backbone=backbone, state=state)
        return found

    monkeypatch.setattr(outcome, "examine", watched)
    record, folder = run(tmp_path, "freeze=full")
    fresh = Builder().build(Run.read(record["config"])).backbone.state_dict()
    for group, names in seen["backbone"].groups.items():
        then = torch.cat([fresh[name].flatten() for name in names])
        now = torch.cat([seen["state"][name].flatten() for name in names])
        assert record["moved"][group] == pytest.approx(float((now - then).norm() / then.norm()), rel=1e-4)


def test_a_resumed_run_tells_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["freeze=full"]
    whole, _ = run(tmp_path / "a", *options)
    test = experiment.test

    def killed(parts):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "test", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", *options)
    monkeypatch.setattr(experiment, "test", test)
    resumed, _ = run(tmp_path / "b", *options)
    for key in ("moved", "similarity", "metrics", "mistakes"):
        assert resumed[key] == whole[key]
    assert max(whole["moved"].values()) > 0
    for name in ("forward_flops", "backward_flops", "flops_saved"):
        assert resumed["cost"][name] == whole["cost"][name]
