"""Every parameter of one's own module belongs to exactly one group, found by its children or named."""

from typing import Any

import pytest
import torchvision
from tests.lightning_modules import make_net
from torch import nn

from frostline.errors import UserError
from frostline.freeze.plan import HEAD, Phase, Train
from frostline.training.own.groups import Groups


def test_children_make_groups_and_what_the_head_names_belongs_to_none() -> None:
    net = nn.ModuleDict({"net": torchvision.models.resnet18(num_classes=3)})
    groups = Groups(net, "net.fc")
    assert groups.names == ("stem", "stage1", "stage2", "stage3", "stage4")
    members = groups.members()
    assert members[HEAD] == ["net.fc.weight", "net.fc.bias"]
    assert members["stem"] == ["net.conv1.weight", "net.bn1.weight", "net.bn1.bias"]
    assert sorted(name for own in members.values() for name in own) == sorted(
        name for name, _ in net.named_parameters()
    )


def test_named_groups_take_paths_and_globs_the_first_that_matches_having_each() -> None:
    groups = Groups(
        make_net(), ["classifier"], {"norms": "blocks.*.1.*", "first": "blocks.0", "rest": ["blocks.1", "blocks.2"]}
    )
    members = groups.members()
    assert groups.names == ("norms", "first", "rest")
    assert members["norms"] == [f"blocks.{n}.1.{kind}" for n in range(3) for kind in ("weight", "bias")]
    assert members["first"] == ["blocks.0.0.weight", "blocks.0.0.bias"]
    of_modules = Groups(make_net(), "classifier", {"norms": "blocks.?.1", "rest": "blocks"})
    assert of_modules.members()["norms"] == members["norms"]


def test_kinds_of_parameters_and_rates() -> None:
    groups = Groups(make_net(), "classifier")
    rates = groups.rates(
        Phase("norm", 1, {"block1": Train(0.5, "norm"), "block2": Train(0.25, "bias"), HEAD: Train(2.0)})
    )
    assert rates == {
        "blocks.1.1.weight": 0.5,
        "blocks.1.1.bias": 0.5,
        "blocks.2.0.bias": 0.25,
        "blocks.2.1.bias": 0.25,
        "classifier.1.weight": 2.0,
        "classifier.1.bias": 2.0,
    }


def test_a_module_without_parameters_belongs_where_its_path_says_or_with_what_is_before_it() -> None:
    net = nn.Sequential()
    for name, part in {"body": nn.Linear(2, 2), "act": nn.ReLU(), "drop": nn.Dropout(), "top": nn.Linear(2, 2)}.items():
        net.add_module(name, part)
    probe = Phase("head", 1, {HEAD: Train()})
    assert set(Groups(net, "top").frozen_modules(net, probe)) == {"body", "act", "drop"}
    assert set(Groups(net, ["drop", "top"], {"low": "body"}).frozen_modules(net, probe)) == {"body", "act"}


def test_a_tied_weight_belongs_to_one_group() -> None:
    net = nn.ModuleDict({"embed": nn.Embedding(4, 4), "mix": nn.Linear(4, 4), "head": nn.Linear(4, 4, bias=False)})
    net["head"].weight = net["embed"].weight
    with pytest.raises(UserError, match=r"embed.weight and head.weight are one parameter, but belong to \w+ and head"):
        Groups(net, "head")
    groups = Groups(net, ["head", "embed"], {"mix": "mix"})
    assert groups.members() == {"mix": ["mix.weight", "mix.bias"], HEAD: ["embed.weight"]}
    assert set(groups.frozen_modules(net, Phase("head", 1, {HEAD: Train()}))) == {"mix"}


@pytest.mark.parametrize(
    ("head", "groups", "message"),
    [
        ("fc", None, "head: 'fc' matches no parameter of the module; expected .* own parts are: blocks, classifier."),
        (["classifier", "fc"], None, "head: 'fc' matches no parameter"),
        ("", None, "'' is invalid: expected a path"),
        (nn.Linear(2, 2), None, "is invalid: expected a path"),
        (["classifier", "blocks"], None, "head: it holds every parameter"),
        ("classifier", {}, "groups: \\[\\] is invalid"),
        ("classifier", {"head": "blocks"}, "without 'head'"),
        ("classifier", {"low": "blocks.0"}, "no pattern matches blocks.1.0.weight; .* exactly one group"),
        (
            "classifier",
            {"low": "blocks", "high": "blocks.2"},
            r"\['high'\]: 'blocks.2' only matches what groups",
        ),
        ("classifier", {"low": ["blocks", "*.3"]}, r"groups\['low'\]: '\*.3' matches no parameter"),
    ],
)
def test_a_mistake_is_named(head: Any, groups: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Groups(make_net(), head, groups)


def test_a_kind_that_is_not_there_is_a_mistake() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(UserError, match="trains the normalisation parameters of stem, but there are none"):
        Groups(net, "1").rates(Phase("norm", 1, {"stem": Train(1.0, "norm")}))
