"""The changes of a plan: each is a module found by its name, and what it adds belongs to groups and has a kind."""

from pathlib import Path

import pytest
import torch
from tests import configs
from tests.tiny import RUN
from torch import nn

from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.freeze.plan import Change, Phase, Train, learning_rates
from frostline.runs.build import Builder


def test_an_unknown_change_is_refused_with_those_there_are(tmp_path: Path) -> None:
    config = resolve(compose("run", [*RUN, "freeze=custom", "freeze.changes=[{kind: lora}]", f"outputs={tmp_path}"]))
    with pytest.raises(UserError, match="'lora' is not known; choose one of: input_adapter, random_weights"):
        Builder().network(config)


def test_options_that_a_change_does_not_have_are_refused(tmp_path: Path) -> None:
    change = "freeze.changes=[{kind: random_weights, options: {seeed: 3}}]"
    with pytest.raises(UserError, match=r"random_weights\.seeed: there is no such key"):
        Builder().network(resolve(compose("run", [*RUN, "freeze=custom", change, f"outputs={tmp_path}"])))


def test_random_weights_are_a_function_of_the_seed_and_stand_in_the_plan(tmp_path: Path) -> None:
    def network(*more: str) -> dict[str, torch.Tensor]:
        config = resolve(compose("run", [*RUN, f"outputs={tmp_path}", *more]))
        backbone, plan = Builder().network(config)
        assert plan.changes == (Change("random_weights"),) and not plan.pretrained
        return backbone.state_dict()

    by_name, again, other = network("freeze=scratch"), network("freeze=scratch"), network("freeze=scratch", "seed=1")
    by_hand = network("freeze=custom", "freeze.changes=[{kind: random_weights}]")
    assert all(torch.equal(by_name[name], again[name]) for name in by_name)
    assert all(torch.equal(by_name[name], by_hand[name]) for name in by_name)
    assert any(not torch.equal(by_name[name], other[name]) for name in by_name)


def test_one_builder_makes_the_same_network_once_and_another_seed_its_own(tmp_path: Path) -> None:
    builder = Builder()

    def network(*more: str) -> nn.Module:
        return builder.network(resolve(compose("run", [*RUN, f"outputs={tmp_path}", *more])))[0]

    pretrained = [network("freeze=full", "backbone.weights=none", f"seed={seed}") for seed in (0, 0, 1)]
    assert pretrained[0] is pretrained[1] and pretrained[0] is not pretrained[2]
    random = [network("freeze=scratch", f"seed={seed}") for seed in (0, 0, 1)]
    assert random[0] is random[1] and random[0] is not random[2]


def test_parameters_that_a_change_adds_belong_to_their_group_and_have_a_kind() -> None:
    backbone = configs.make("backbone/timm", name="test_resnet", weights="none", size=32, options={})
    first, *_, last = backbone.groups
    backbone.network.register_parameter("extra", nn.Parameter(torch.zeros(3)))
    backbone.add_parameters("low_rank", {last: ["network.extra"]})
    rates = learning_rates(Phase("a", 1, {last: Train(0.5, "low_rank")}), backbone.groups, backbone.kinds())
    assert rates == {"network.extra": 0.5}
    with pytest.raises(UserError, match="trains the low-rank parameters of stem, but there are none"):
        learning_rates(Phase("a", 1, {first: Train(1.0, "low_rank")}), backbone.groups, backbone.kinds())
