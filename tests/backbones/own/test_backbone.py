"""Any module as a backbone: its groups, its cuts, and mistakes in one sentence."""

from typing import Any

import pytest
import torch
from tests import configs
from tests.own_networks import Deciding, Pictures, Residual, Table, Tied, Words, seeded
from torch import Tensor, nn

from frostline.backbones.base import FEATURES, Backbone
from frostline.backbones.cuts import check_cut, find_cuts
from frostline.backbones.own.network import OwnNetwork, match_groups
from frostline.errors import UserError

NETWORKS: list[tuple[nn.Module, dict[str, Any], list[str]]] = [
    (seeded(Pictures), {"shape": [3, 16, 16], "classifier": "fc"}, ["stem", "stage1", "stage2", "stage3"]),
    (seeded(Table), {"shape": [6]}, ["stem", "block1", "block2"]),
    (seeded(Words), {"shape": [5], "dtype": "int64"}, ["stem", "block1"]),
    (seeded(Tied), {"shape": [6]}, ["stem", "block1"]),
]


@pytest.mark.parametrize(("network", "options", "groups"), NETWORKS, ids=lambda one: type(one).__name__)
def test_a_module_has_a_group_for_each_part_in_order(
    network: nn.Module, options: dict[str, Any], groups: list[str]
) -> None:
    backbone = configs.make("backbone/own", found=network, **options)
    assert list(backbone.groups) == groups
    assert backbone.notes == []
    assert configs.make("backbone/own", found=backbone) is backbone


@pytest.mark.parametrize(("network", "options", "groups"), NETWORKS, ids=lambda one: type(one).__name__)
def test_every_cut_gives_the_whole_network_back(network: nn.Module, options: dict[str, Any], groups: list[str]) -> None:
    backbone = configs.make("backbone/own", found=network, **options)
    size = backbone.preprocess.size
    cuts = [cut.name for cut in find_cuts(backbone, size)]
    assert cuts[-1] == FEATURES and len(cuts) > 1
    assert all(check_cut(backbone, name, size) for name in cuts)
    with torch.inference_mode():
        assert backbone.eval()(backbone.example(4, size)).shape == (4, backbone.num_features)


def test_what_cannot_be_traced_has_its_features_alone() -> None:
    backbone = configs.make("backbone/own", found=seeded(Deciding), shape=[6])
    assert [cut.name for cut in find_cuts(backbone, 6)] == [FEATURES]
    assert "Deciding cannot be traced" in backbone.notes[0]


def test_a_run_trains_a_copy() -> None:
    network = seeded(Pictures).eval().requires_grad_(False)
    backbone = configs.make("backbone/own", found=network, shape=[3, 16, 16], classifier="fc")
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.zero_()
    assert network.stem.weight.any() and isinstance(network.fc, nn.Linear)
    assert not network.training


def test_groups_can_be_named() -> None:
    groups = {"low": ["stem", "first"], "high": "second", "top": ["third.*", "dropout*"]}
    with pytest.raises(UserError, match=r"backbone\.groups\.top: 'dropout\*' matches no parameter"):
        configs.make("backbone/own", found=seeded(Pictures), shape=[3, 16, 16], classifier="fc", groups=groups)
    groups["top"] = ["third.*"]
    backbone = configs.make("backbone/own", found=seeded(Pictures), shape=[3, 16, 16], classifier="fc", groups=groups)
    assert list(backbone.groups) == ["low", "high", "top"]
    assert backbone.groups["high"][0] == "network.second.conv.weight"


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"a": ["conv", "norm"]}, "2 parameters are in no group: again.weight; again.bias"),
        ({"a": "*", "b": "norm"}, "backbone.groups.b: norm.weight is in a already"),
        ({"a": ["conv", 3]}, "backbone.groups.a: ['conv', 3] is invalid: expected a path"),
    ],
)
def test_a_parameter_is_in_exactly_one_group(groups: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        match_groups(Residual(2), groups)
    assert said in str(error.value)


class Backwards(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Linear(8, 8)
        self.bottom = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.bottom(x))


def test_groups_that_are_run_in_another_order_are_told_of() -> None:
    (note,) = configs.make("backbone/own", found=Backwards(), shape=[6]).notes
    assert "stand in the order stem, block1, but it runs them as block1, stem" in note
    groups = {"bottom": "bottom", "top": "top"}
    assert configs.make("backbone/own", found=Backwards(), shape=[6], groups=groups).notes == []


def test_random_weights_are_a_function_of_the_seed() -> None:
    def make(network: nn.Module, **options: Any) -> Backbone:
        torch.manual_seed(3)
        return configs.make("backbone/own", found=network, pretrained=False, **options)

    for network, options, _ in NETWORKS:
        random = make(network, **options)
        assert random.fingerprint() == make(network, **options).fingerprint()
        assert random.fingerprint() != configs.make("backbone/own", found=network, **options).fingerprint()
        assert random.live_statistics and not configs.make("backbone/own", found=network, **options).live_statistics


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x * self.scale)


class Crash(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.linear(x), x


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        (Table(), {}, "backbone.shape: nothing says what samples Table takes"),
        (Table(), {"shape": [7]}, "backbone.shape: Table cannot take samples of float32 [7]"),
        (Pictures(), {"shape": [3, 8, 8], "classifier": "head"}, "there is no 'head'; the last layers are: "),
        (nn.Conv2d(3, 4, 3), {"shape": [3, 8, 8]}, "Conv2d gives [4, 6, 6] for a sample, not a vector"),
        (Crash(), {"shape": [6]}, "Crash gives tuple for a sample"),
        (nn.Flatten(), {"shape": [6]}, "Flatten has no parameters"),
        (Scaled(), {"shape": [6], "pretrained": False}, "Scaled has no method reset_parameters"),
        (None, {"name": "Mine"}, "Mine was given to a run from Python"),
    ],
)
def test_mistakes_are_one_sentence(network: nn.Module, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        configs.make("backbone/own", found=network, **options)
    assert said in str(error.value) and str(error.value).endswith(".")


def test_a_node_stands_for_a_network() -> None:
    own = OwnNetwork(seeded(Pictures), classifier="fc", groups={"all": "*"})
    node = own.node([3, 16, 16], "float32")
    assert (
        node.items() >= {"name": "Pictures", "shape": [3, 16, 16], "groups": {"all": ["*"]}, "classifier": "fc"}.items()
    )
    backbone = configs.make("backbone/own", found=own, **node)
    assert backbone.architecture == f"own Pictures {node['content']} without fc"
    again = OwnNetwork(seeded(Pictures), classifier="fc").node([3, 16, 16], "float32")
    assert again["content"] == node["content"]
