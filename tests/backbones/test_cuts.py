"""Cuts: bit-equal halves, exact accounts of parameters and costs, the same behaviour as the whole while training."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from tests import configs
from torch import Tensor, nn

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, check_cut, find_cuts, prefix, suffix
from frostline.backbones.traced.backbone import ImageBackbone
from frostline.data.inputs import Pixels

SIZE = 32
SMALL_SWIN = {"embed_dim": 24, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 2), "drop_path_rate": 0.3}
BUILDERS: dict[str, Callable[[], Backbone]] = {
    "resnet": lambda: configs.make(
        "backbone/timm", name="resnet10t", weights="none", size=SIZE, options={"drop_path_rate": 0.3}
    ),
    "efficientnet": lambda: configs.make("backbone/efficientnet_lite0", size=SIZE),
    "vit": lambda: configs.make(
        "backbone/timm",
        name="vit_tiny_patch16_224",
        weights="none",
        size=SIZE,
        options={"depth": 3, "drop_path_rate": 0.3, "proj_drop_rate": 0.2},
    ),
    "convnext": lambda: configs.make(
        "backbone/timm", name="convnext_atto", weights="none", size=SIZE, options={"depths": (1, 1, 2, 1)}
    ),
    "swin": lambda: configs.make(
        "backbone/timm", name="swin_tiny_patch4_window7_224", weights="none", size=SIZE, options=SMALL_SWIN
    ),
    "resmlp": lambda: configs.make("backbone/timm", name="resmlp_12_224", weights="none", size=SIZE),
    "torchvision_resnet": lambda: configs.make("backbone/torchvision", name="resnet18", weights="none", size=SIZE),
    "torchvision_efficientnet": lambda: configs.make(
        "backbone/torchvision", name="efficientnet_b0", weights="none", size=SIZE
    ),
}
families = pytest.mark.parametrize("family", BUILDERS)


@cache
def shared(family: str) -> Backbone:
    torch.manual_seed(0)
    return BUILDERS[family]()


def fresh(family: str) -> Backbone:
    torch.manual_seed(0)
    return BUILDERS[family]()


def images(count: int = 4) -> Tensor:
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def boundary(backbone: Backbone, frozen: int) -> Cut:
    """The deepest cut that needs parameters of the first ``frozen`` groups only."""
    allowed = {name for group in list(backbone.groups)[:frozen] for name in backbone.groups[group]}
    return [cut for cut in find_cuts(backbone, SIZE) if cut.parameters <= allowed][-1]


@families
def test_suffix_of_prefix_is_bit_equal_to_the_backbone_at_every_cut(family: str) -> None:
    backbone = shared(family)
    cuts = find_cuts(backbone, SIZE)
    assert len(cuts) > 10
    assert [cut.name for cut in cuts if not check_cut(backbone, cut.name, SIZE)] == []


@families
def test_cuts_come_in_depth_order_and_end_with_the_features(family: str) -> None:
    backbone = shared(family)
    cuts = find_cuts(backbone, SIZE)
    for before, after in zip(cuts, cuts[1:], strict=False):
        assert before.parameters <= after.parameters
        assert before.buffers <= after.buffers
        assert before.flops <= after.flops
    assert cuts[-1].name == "features"
    assert cuts[-1].shape == (backbone.num_features,)
    assert cuts[-1].bytes == 4 * backbone.num_features
    assert cuts[-1].parameters == {name for name, _ in backbone.named_parameters()}


@families
def test_every_group_ends_at_a_cut(family: str) -> None:
    backbone = shared(family)
    for frozen, group in enumerate(backbone.groups, 1):
        assert boundary(backbone, frozen).parameters & set(backbone.groups[group]), group


@families
def test_several_activations_of_one_pass_equal_those_of_single_passes(family: str) -> None:
    backbone = shared(family)
    cuts = find_cuts(backbone, SIZE)
    together = prefix(backbone, [cut.name for cut in cuts])(images())
    for cut, activation in zip(cuts, together, strict=True):
        (alone,) = prefix(backbone, [cut.name])(images())
        assert torch.equal(alone, activation), cut.name
        assert activation.shape == (4, *cut.shape)


@families
def test_a_prefix_in_train_mode_moves_no_buffer_and_needs_no_gradient(family: str) -> None:
    backbone = shared(family)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.train()
    (activation,) = prefix(backbone, [find_cuts(backbone, SIZE)[-2].name])(images())
    assert backbone.training and backbone.network.training
    backbone.eval()
    assert not activation.requires_grad
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


@families
def test_training_on_the_suffix_is_training_the_backbone(family: str) -> None:
    """Same outputs under the same random state (dropout, drop path), same gradients, same running statistics."""
    whole, halved = fresh(family), fresh(family)
    groups = list(whole.groups)
    cut = boundary(halved, 2)
    rest = suffix(halved, cut.name)
    for backbone in (whole, halved):
        for group in groups[:2]:
            for name in backbone.groups[group]:
                backbone.get_parameter(name).requires_grad_(False)
        backbone.train()
        backbone.freeze_modes(set(groups[:2]))
    (activation,) = prefix(halved, [cut.name])(images())
    outputs = []
    for run, inputs in ((whole, images()), (rest, activation.contiguous())):
        torch.manual_seed(3)
        outputs.append(run(inputs))
        outputs[-1].square().mean().backward()
    assert torch.equal(*outputs)
    for (name, expected), (_, actual) in zip(whole.named_parameters(), halved.named_parameters(), strict=True):
        if expected.grad is None or actual.grad is None:
            assert expected.grad is actual.grad, name
        else:
            assert torch.equal(expected.grad, actual.grad), name
    for name, expected in whole.state_dict().items():
        assert torch.equal(expected, halved.state_dict()[name]), name


def test_a_suffix_follows_the_modes_the_backbone_has_when_it_is_used() -> None:
    backbone = fresh("vit")
    backbone.eval()
    cut = boundary(backbone, 1)
    rest = suffix(backbone, cut.name)
    (activation,) = prefix(backbone, [cut.name])(images())
    rest.train()
    assert not any(module.training for module in backbone.modules())
    assert torch.equal(rest(activation), backbone(images()))
    backbone.train()
    assert not torch.equal(rest(activation), rest(activation))
    backbone.eval()
    assert torch.equal(rest(activation), backbone(images()))


def test_a_suffix_shares_parameters_by_identity_and_leaves_its_input_alone() -> None:
    backbone = shared("efficientnet").eval()
    cut = boundary(backbone, 3)
    rest = suffix(backbone, cut.name)
    own = {id(parameter): name for name, parameter in backbone.named_parameters()}
    assert {own[id(parameter)] for parameter in rest.parameters()}.isdisjoint(cut.parameters)
    (activation,) = prefix(backbone, [cut.name])(images())
    copy = activation.clone()
    with torch.no_grad():
        rest(activation)
    assert torch.equal(activation, copy)


def test_memory_format_survives_a_cache_that_stores_plain_tensors() -> None:
    backbone = shared("efficientnet")
    cut = boundary(backbone, 3)
    assert cut.layout == (0, 2, 3, 1)
    (activation,) = prefix(backbone, [cut.name])(images())
    assert activation.is_contiguous(memory_format=torch.channels_last)


def test_costs_count_what_was_computed() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1, bias=False)
            self.fc = nn.Linear(4 * SIZE * SIZE, 7)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).flatten(1))

    backbone = small(Tiny(), {"stem": ["conv.weight"], "stage1": ["fc.weight", "fc.bias"]})
    cuts = {cut.name: cut for cut in find_cuts(backbone, SIZE)}
    assert cuts["network.conv"].flops == 2 * 3 * 4 * SIZE * SIZE
    assert cuts["network.conv"].bytes == 4 * 4 * SIZE * SIZE
    assert cuts["network.conv"].parameters == {"network.conv.weight"}
    assert cuts["features"].flops == 2 * (3 * 4 + 4 * 7) * SIZE * SIZE


def test_no_cut_inside_a_branch_nor_where_rows_are_not_samples() -> None:
    class Branched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.left, self.right = nn.Linear(SIZE, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            rows = self.first(x.mean(1).flatten(0, 1))  # [B * S, 4]: windows, not samples
            x = rows.reshape(x.shape[0], -1, 4).mean(1)
            return self.left(x) + self.right(x)

    members = [f"{layer}.{kind}" for layer in ("first", "left", "right") for kind in ("weight", "bias")]
    names = [cut.name for cut in find_cuts(small(Branched(), {"stem": members}), SIZE)]
    assert not {"network.first", "network.left", "network.right"} & set(names)
    assert names[-1] == "features"


def test_values_overwritten_in_place_are_no_cuts() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 4)
            self.act = nn.SiLU(inplace=True)
            self.last = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.act(self.fc(x.mean((2, 3)))))

    names = ["fc.weight", "fc.bias", "last.weight", "last.bias"]
    backbone = small(InPlace(), {"stem": names})
    found = [cut.name for cut in find_cuts(backbone, SIZE)]
    assert "network.fc" not in found and "network.act" in found
    assert all(check_cut(backbone, name, SIZE) for name in found)


def test_a_network_that_cannot_be_traced_has_its_features_only_and_says_so() -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.fc(x.mean((2, 3)))
            return x if x.sum() > 0 else -x

    backbone = small(Moody(), {"stem": ["fc.weight", "fc.bias"]})
    (cut,) = find_cuts(backbone, SIZE)
    assert (cut.name, cut.shape, cut.parameters) == ("features", (4,), {"network.fc.weight", "network.fc.bias"})
    assert len(backbone.notes) == 1 and "cannot be traced" in backbone.notes[0]
    assert check_cut(backbone, "features", SIZE)
    find_cuts(backbone, SIZE * 2)
    assert len(backbone.notes) == 1


def test_finding_cuts_touches_neither_modes_nor_random_state_nor_weights() -> None:
    backbone = fresh("vit")
    backbone.train()
    backbone.freeze_modes({"stem"})
    before = backbone.fingerprint(), [module.training for module in backbone.modules()], torch.get_rng_state()
    find_cuts(backbone, SIZE)
    assert before[:2] == (backbone.fingerprint(), [module.training for module in backbone.modules()])
    assert torch.equal(before[2], torch.get_rng_state())


def small(network: nn.Module, groups: dict[str, list[str]]) -> Backbone:
    preprocess = Pixels(SIZE, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    return ImageBackbone(network, type(network).__name__, groups, preprocess)
