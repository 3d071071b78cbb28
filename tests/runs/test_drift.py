"""What a run tells of itself: FLOPs by hand, similarity by its published properties, and nothing changed by looking."""

import io
import json
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.finished_runs import finished, rows
from torch import Tensor, nn

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import find_cuts
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.backbones.traced.builders import timm_backbone
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.data.inputs import Pixels
from frostline.errors import UserError
from frostline.freeze.plan import Phase, Train
from frostline.heads import Linear
from frostline.results.store import run_folder, run_id
from frostline.runs import experiment, outcome
from frostline.runs.build import Builder
from frostline.runs.drift import cka, group_outputs
from frostline.runs.experiment import run_experiment
from frostline.runs.flops import count_backward_flops, count_head_flops
from frostline.runs.setup import set_up

TINY = ["backbone=timm", "backbone.weights=none", "backbone.name=test_resnet", "data.size=32", "data.num_per_class=4"]
SPEED = ["epochs=2", "trainer.accelerator=cpu", "optimizer.lr=0.003", "augment=none"]


def make(outputs: Path, *overrides: str) -> tuple[Run, Path]:
    config = resolve(compose("run", [*TINY, *SPEED, f"outputs={outputs}", *overrides]))
    folder = run_folder(outputs, run_id(config))
    folder.mkdir(parents=True, exist_ok=True)
    return config, folder


def run(outputs: Path, *overrides: str) -> tuple[dict, Path]:
    return finished(make(outputs, *overrides)[0])


# FLOPs

CONV, DEPTHWISE, LAST, HEAD = 2 * 64 * 4 * 27, 2 * 64 * 4 * 9, 2 * 256 * 5, 2 * 5 * 3


def by_hand() -> tuple[Backbone, Linear]:
    """8x8 images -> 4 maps -> the same by themselves -> 5 features -> 3 classes."""
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 5),
    )
    groups = {"stem": ["0.weight", "0.bias"], "middle": ["1.weight", "1.bias"], "last": ["4.weight", "4.bias"]}
    look = Pixels(8, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    return ImageBackbone(layers, "by hand", groups, look), Linear(5, 3)


@pytest.mark.parametrize(
    ("train", "backward"),
    [
        ({"head": Train()}, HEAD),
        ({"head": Train(), "last": Train()}, 2 * HEAD + LAST),
        ({"head": Train(), "middle": Train()}, 2 * HEAD + LAST + DEPTHWISE),
        ({"last": Train()}, HEAD + LAST),
        ({"stem": Train(), "middle": Train(), "last": Train(), "head": Train()}, 2 * (HEAD + LAST + DEPTHWISE) + CONV),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_flops_are_those_counted_by_hand(train: dict[str, Train], backward: int) -> None:
    """A layer's gradient takes as much as its forward pass for its weights and as much again for its inputs."""
    backbone, head = by_hand()
    assert find_cuts(backbone, 8)[-1].flops == CONV + DEPTHWISE + LAST
    assert count_head_flops(head, 5) == HEAD
    flags = [parameter.requires_grad for parameter in backbone.parameters()]
    assert count_backward_flops(backbone, head, Phase("phase", 1, train), 8) == backward
    assert [parameter.requires_grad for parameter in backbone.parameters()] == flags
    assert all(parameter.grad is None for parameter in [*backbone.parameters(), *head.parameters()])


def test_cached_and_uncached_runs_tell_the_same(tmp_path: Path) -> None:
    """What was computed in the one was spared in the other; what is frozen has not moved and looks as it did."""
    cached, folder = run(tmp_path, "freeze=last_k")
    plain_run, _ = run(tmp_path, "freeze=last_k", "cache.enabled=false")
    count, cost, other = cached["data"]["counts"], cached["cost"], plain_run["cost"]
    passes = 2 * (count["train"] + count["val"]) + count["test"]
    network = timm_backbone("test_resnet", "none", size=32, options={})
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


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_a_solved_phase_counts_one_pass_over_the_backbone_and_all_over_the_head(tmp_path: Path, enabled: str) -> None:
    config, folder = make(tmp_path, "freeze=linear_probe", f"cache.enabled={enabled}")
    record = run_experiment(config, folder.name, folder)
    again = set_up(config, folder, Builder(), time.monotonic())
    again.journal.resume()
    count, body = record.data["counts"], again.policy.cuts[-1].flops
    head, passes = 2 * again.made.backbone.num_features * 10, again.journal.progress.passes[0]
    over_head = head * (count["train"] * (passes + 1) + count["val"] + count["test"])
    over_body = body * (count["train"] + count["val"] + count["test"])
    assert passes > 5
    assert record.cost.backward_flops == head * count["train"] * passes
    assert record.cost.forward_flops == over_head + (over_body if enabled == "false" else 0)
    assert record.cost.flops_saved == (over_body if enabled == "true" else 0)


# what changed


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
    backbone = timm_backbone(name, "none", size=32, options={})
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


# mistakes


def test_the_surest_mistakes_are_kept_with_their_pictures(tmp_path: Path) -> None:
    record, folder = run(tmp_path, "freeze=linear_probe")
    own = {row["sample"]: row for row in rows(folder / "predictions.csv")}
    wrong = {name: row for name, row in own.items() if row["label"] != row["prediction"]}
    found = record["mistakes"]
    assert len(found) == 12 <= len(wrong)
    surest = sorted((float(row[f"p({row['prediction']})"]) for row in wrong.values()), reverse=True)
    assert [one["probability"] for one in found] == pytest.approx(surest[:12], rel=1e-4)
    images = {}
    for number, one in enumerate(found):
        row = wrong[one["sample"]]
        assert (one["label"], one["prediction"]) == (row["label"], row["prediction"])
        assert one["picture"] == f"mistakes/{number:02d}.png"
        images[one["sample"]] = Image.open(io.BytesIO((folder / one["picture"]).read_bytes()))
    assert {image.size for image in images.values()} == {(32, 32)}
    assert len({image.tobytes() for image in images.values()}) == 12, "each its own picture"


# trials


def broken_photos(root: Path) -> None:
    """Two classes; the test split has a picture that is cut off after its header."""
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        for label, shade in (("dark", 40), ("light", 200)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = features(100 * number + shade + len(split), 32, 32).abs() * 10 + shade
                Image.fromarray(pixels.byte().numpy()).save(folder / f"{number}.png")
    last = root / "test" / "dark" / "0.png"
    last.write_bytes(last.read_bytes()[:200])


@pytest.mark.parametrize("freeze", ["linear_probe", "last_k", "full"])
def test_a_trial_leaves_the_test_split_alone(tmp_path: Path, freeze: str) -> None:
    broken_photos(tmp_path / "photos")
    options = ["data=imagefolder", f"data.root={tmp_path / 'photos'}", f"freeze={freeze}", "data.num_per_class=null"]
    with pytest.raises(UserError, match="test/dark/0.png"):
        run(tmp_path / "outputs", *options)
    record, folder = run(tmp_path / "outputs", *options, "test=false")
    assert record["status"] == "done" and set(record["metrics"]) == {"train", "val"}
    assert [record[key] for key in ("confusion", "moved", "similarity", "mistakes")] == [[], {}, {}, []]
    assert not (folder / "predictions.csv").exists() and not (folder / "mistakes").exists()
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "cache").glob("*/manifest.json")]
    assert "test" not in {manifest["about"]["split"] for manifest in manifests}
    assert (freeze == "full") is (not manifests)
    assert record["cost"]["forward_flops"] > 0
