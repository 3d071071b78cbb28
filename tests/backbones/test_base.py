"""A backbone's own rules: which modules freezing puts into eval mode, which parameters normalise, how inputs enter."""

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import configs
from torch import Tensor, nn

from frostline.backbones.cuts import find_cuts
from frostline.backbones.traced.backbone import ImageBackbone, resolve_channels_last
from frostline.data.inputs import Pixels
from frostline.errors import UserError


class Staged(nn.Module):
    """Two convolutions, normalisation without parameters, dropout in between, a functional dropout at the root."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.plain_norm = nn.BatchNorm2d(4, affine=False)
        self.stage = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stage(self.plain_norm(self.stem(x)))).flatten(1)
        return nn.functional.dropout(x, 0.5, self.training)


GROUPS = {
    "stem": ["stem.weight", "stem.bias"],
    "stage1": [f"stage.{n}.{k}" for n in (0, 1) for k in ("weight", "bias")],
}
PREPROCESS = Pixels(8, 1.0, (0.2, 0.4, 0.6), (0.5, 0.25, 0.1), "bilinear")


def staged() -> ImageBackbone:
    return ImageBackbone(Staged(), "staged", GROUPS, PREPROCESS).train()


@cache
def vit() -> ImageBackbone:
    return configs.make(
        "backbone/timm",
        name="vit_tiny_patch16_224",
        weights="none",
        size=32,
        options={"depth": 3, "proj_drop_rate": 0.1},
    )


def test_the_root_without_parameters_follows_any_frozen_group() -> None:
    backbone = staged()
    backbone.freeze_modes({"stem"})
    network = backbone.network
    assert isinstance(network, Staged)
    asleep = [network, network.stem, network.plain_norm, backbone]
    awake = [network.stage, *network.stage, network.pool]
    assert not any(module.training for module in asleep) and all(module.training for module in awake)


def test_dropout_and_pooling_take_the_group_before_them() -> None:
    backbone = staged()
    backbone.freeze_modes({"stage1"})
    network = backbone.network
    assert isinstance(network, Staged)
    assert network.stem.training and network.plain_norm.training
    assert not any(module.training for module in [network.stage, *network.stage, network.pool])


@given(data=st.data())
def test_nothing_under_a_frozen_group_trains_and_all_else_keeps_its_mode(data: st.DataObject) -> None:
    backbone = vit()
    frozen = data.draw(st.sets(st.sampled_from(list(backbone.groups))))
    asleep = data.draw(st.booleans())
    backbone.train(not asleep)
    backbone.freeze_modes(frozen)
    held = {name for group in frozen for name in backbone.groups[group]}
    for prefix, module in backbone.named_modules():
        names = {f"{prefix}.{name}".lstrip(".") for name, _ in module.named_parameters()}
        if names:
            assert module.training == (not asleep and not names & held), prefix


def test_frozen_buffers_stay_bit_equal_in_a_training_step() -> None:
    backbone = staged()
    backbone.freeze_modes({"stem"})
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone(torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8))
    moved = {name for name, value in backbone.named_buffers() if not torch.equal(value, before[name])}
    assert moved == {f"network.stage.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}


def test_norms_are_the_parameters_of_normalisation() -> None:
    assert staged().kinds()["norm"] == {"network.stage.1.weight", "network.stage.1.bias"}
    assert len(vit().kinds()["norm"]) == 2 * (2 * 3 + 1)


def test_images_are_normalised_with_the_preprocess_and_that_is_outside_the_state_dict() -> None:
    backbone = ImageBackbone(
        nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten()), "one", {"stem": ["0.weight", "0.bias"]}, PREPROCESS
    )
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (PREPROCESS.mean, PREPROCESS.std))
    expected = backbone.network((images / 255 - mean) / std)
    torch.testing.assert_close(backbone(images), expected)
    assert set(backbone.state_dict()) == {"network.0.weight", "network.0.bias"}


def test_channels_last_is_for_networks_with_several_convolutions() -> None:
    assert resolve_channels_last("auto", Staged()) and not resolve_channels_last("auto", vit().network)
    assert resolve_channels_last(True, vit().network) and not resolve_channels_last(False, Staged())
    with pytest.raises(UserError, match=r"^backbone\.channels_last: 'yes' .* auto, true, false"):
        resolve_channels_last("yes", Staged())


def test_a_network_that_gives_maps_instead_of_vectors_is_refused() -> None:
    with pytest.raises(UserError, match=r"^backbone\.name: maps does not give one feature vector"):
        ImageBackbone(nn.Conv2d(3, 4, 1), "maps", {"stem": ["weight", "bias"]}, PREPROCESS)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_a_synchronised_network_is_the_same_one_and_freezes_as_before(name: str) -> None:
    """timm's norms hold their activation: torch's own conversion would lose it."""
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    backbone = configs.make("backbone/timm", name=name, weights="none", size=32)
    with torch.no_grad():
        before = backbone.eval()(images)
        parameters, cuts = list(backbone.parameters()), len(find_cuts(backbone, 32))
        backbone.synchronise()
        assert torch.equal(backbone.eval()(images), before)
    assert all(one is other for one, other in zip(backbone.parameters(), parameters, strict=True))
    assert len(find_cuts(backbone, 32)) > cuts / 3
    backbone.train().freeze_modes({"stem"})
    kinds = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert kinds and all(isinstance(module, nn.SyncBatchNorm) for module in kinds)
    assert {module.training for module in kinds} == {True, False}
