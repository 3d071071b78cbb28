"""Schedules as functions of a phase's progress, and groups that hold what trains, once."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.errors import UserError
from frostline.freeze.plan import Phase, Train, learning_rates
from frostline.heads import MLP
from frostline.training.optim import Schedule, constant, cosine, linear, make_parameter_groups, one_cycle

PROGRESS = st.floats(0, 1)
WARMUP = st.floats(0, 0.9)
FINAL = st.floats(0, 0.9)


@pytest.mark.parametrize(
    ("schedule", "at_zero", "at_half", "at_one"),
    [
        (constant(0.0), 1, 1, 1),
        (constant(0.5), 0, 1, 1),
        (constant(0.8), 0, 0.625, 1),
        (cosine(0.0), 1, 0.5, 0),
        (cosine(0.5), 0, 1, 0),
        (cosine(0.0, final=0.2), 1, 0.6, 0.2),
        (linear(0.0), 1, 0.5, 0),
        (linear(0.0, final=0.5), 1, 0.75, 0.5),
        (linear(0.2, 0.1), 0, 0.6625, 0.1),
        (one_cycle(0.5), 0.04, 1, 4e-6),
        (one_cycle(0.0), 1, 0.5 + 2e-6, 4e-6),
    ],
)
def test_values_at_the_ends_and_in_the_middle(
    schedule: Schedule, at_zero: float, at_half: float, at_one: float
) -> None:
    assert [schedule(0.0), schedule(0.5), schedule(1.0)] == pytest.approx([at_zero, at_half, at_one])


@settings(deadline=None)
@given(warmup=WARMUP, final=FINAL, one=PROGRESS, other=PROGRESS)
def test_rates_rise_through_the_warmup_and_never_after(warmup: float, final: float, one: float, other: float) -> None:
    early, late = sorted((one, other))
    for schedule in (constant(warmup), cosine(warmup, final), linear(warmup, final), one_cycle(warmup, final=final)):
        first, second = schedule(early), schedule(late)
        assert -1e-12 <= first <= 1 + 1e-12 and -1e-12 <= second <= 1 + 1e-12
        if late <= warmup:
            assert first <= second + 1e-12
        if early >= warmup:
            assert first >= second - 1e-12


@settings(deadline=None)
@given(warmup=st.floats(0.01, 0.9), final=FINAL)
def test_the_warmup_ends_at_the_full_rate_without_a_jump(warmup: float, final: float) -> None:
    for schedule in (constant(warmup), cosine(warmup, final), linear(warmup, final), one_cycle(warmup)):
        assert schedule(warmup) == pytest.approx(1)
        assert schedule(warmup * (1 - 1e-9)) == pytest.approx(1, abs=1e-6)


def test_one_cycle_is_that_of_torch() -> None:
    steps = 1000
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False)
    ours = one_cycle(0.3)
    for step in range(steps):
        # torch puts its turning points one step early, so as to reach the end in the last step
        assert ours(step / steps) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1.6 / (0.3 * steps))
        optimizer.step()
        if step < steps - 1:
            theirs.step()
    assert ours(1.0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)


@pytest.mark.parametrize("make_schedule", [constant, cosine, linear, one_cycle])
@pytest.mark.parametrize("warmup", [-0.1, 1.0, 5, math.nan])
def test_a_warmup_that_is_no_fraction_is_named(make_schedule, warmup: float) -> None:
    with pytest.raises(UserError, match="schedule.warmup"):
        make_schedule(warmup)


@pytest.mark.parametrize("network", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("kind", ["all", "norm", "bias"])
@pytest.mark.parametrize("with_head", [True, False])
def test_groups_hold_exactly_what_trains_once(make, network: str, kind, with_head: bool) -> None:
    backbone = make(network)
    head = MLP(backbone.num_features, 3, hidden=256, dropout=0.1, solver=None)
    train = {group: Train(0.5**place, kind) for place, group in enumerate(list(backbone.groups)[1:])}
    rates = learning_rates(Phase("p", 1, train), backbone.groups, backbone.kinds())
    groups = make_parameter_groups(backbone, head, rates, 2.0 if with_head else None, backbone.groups)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    wanted = {id(value): rates[name] for name, value in backbone.named_parameters() if name in rates}
    if with_head:
        wanted |= {id(parameter): 2.0 for parameter in head.parameters()}
    assert sorted(held) == sorted(wanted)
    for group in groups:
        for parameter in group["params"]:
            assert wanted[id(parameter)] == group["scale"]
            assert (group.get("weight_decay") == 0) == (parameter.ndim <= 1), group["name"]
    order = [*backbone.groups, "head"]
    places = [order.index(group["name"].removesuffix("/no_decay")) for group in groups]
    assert places == sorted(places) and len({group["name"] for group in groups}) == len(groups)


def test_no_decay_for_vectors_and_the_given_one_for_the_rest(make) -> None:
    backbone = make()
    rates = {name: 1.0 for names in backbone.groups.values() for name in names}
    groups = make_parameter_groups(
        backbone, MLP(backbone.num_features, 3, hidden=256, dropout=0.1, solver=None), rates, 1.0, backbone.groups
    )
    optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=0.3)
    for group in optimizer.param_groups:
        assert {(0.3 if parameter.ndim > 1 else 0.0) for parameter in group["params"]} == {group["weight_decay"]}
