"""Rates of a plan for other people's optimizers: each part goes as its group would have gone, times its scale."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adagrad, Optimizer
from torch.optim import lr_scheduler as schedules
from torch.optim.lr_scheduler import LRScheduler

from frostline.errors import UserError
from frostline.training.own.rates import apply_rates

SCALES = {"a.weight": 0.5, "b.weight": 0.125, "b.bias": 1.0}


def make_module() -> Any:
    return nn.ModuleDict({name: nn.Linear(2, 2) for name in "abc"})


def apply(
    module: nn.Module, optimizer: Optimizer, scheduler: Any = None, scales: dict[str, float] | None = None
) -> None:
    """Apply the rates to one optimizer and at most one scheduler."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    apply_rates([optimizer], [scheduler] if scheduler else [], SCALES if scales is None else scales, names)


def rates(module: nn.Module, optimizer: Optimizer) -> dict[str, float]:
    names = {parameter: name for name, parameter in module.named_parameters()}
    return {names[one]: group["lr"] for group in optimizer.param_groups for one in group["params"]}


SCHEDULERS: dict[str, Callable[[Optimizer], Any]] = {
    "LambdaLR": lambda o: schedules.LambdaLR(o, [lambda n: 1 / (n + 1), lambda n: 1 / (n + 2)]),
    "MultiplicativeLR": lambda o: schedules.MultiplicativeLR(o, [lambda n: 0.9, lambda n: 0.8]),
    "StepLR": lambda o: schedules.StepLR(o, 2),
    "MultiStepLR": lambda o: schedules.MultiStepLR(o, [1, 3]),
    "ConstantLR": lambda o: schedules.ConstantLR(o, 0.5, 2),
    "LinearLR": lambda o: schedules.LinearLR(o, 0.1, total_iters=4),
    "ExponentialLR": lambda o: schedules.ExponentialLR(o, 0.7),
    "PolynomialLR": lambda o: schedules.PolynomialLR(o, 4),
    "CosineAnnealingLR": lambda o: schedules.CosineAnnealingLR(o, 6),
    "CosineAnnealingWarmRestarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 3),
    "CyclicLR": lambda o: schedules.CyclicLR(o, [0.1, 0.2], [0.4, 0.9], step_size_up=2),
    "OneCycleLR": lambda o: schedules.OneCycleLR(o, [0.4, 0.9], total_steps=8),
    "SequentialLR": lambda o: schedules.SequentialLR(
        o, [schedules.ConstantLR(o, 0.1, 2), schedules.ExponentialLR(o, 0.5)], milestones=[2]
    ),
    "ChainedScheduler": lambda o: schedules.ChainedScheduler(
        [schedules.ConstantLR(o, 0.1, 2), schedules.ExponentialLR(o, 0.5)], optimizer=o
    ),
    "ReduceLROnPlateau": lambda o: schedules.ReduceLROnPlateau(o, factor=0.5, patience=1, min_lr=[0.02, 0.03]),
}


def test_every_scheduler_of_torch_is_tried() -> None:
    public = {name for name in schedules.__all__ if issubclass(getattr(schedules, name), LRScheduler)}
    assert set(SCHEDULERS) == public - {"LRScheduler"}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_part_goes_as_its_group_would_have_times_its_scale(name: str) -> None:
    paths = []
    for divided in (False, True):
        module = make_module()
        groups = [{"params": module["a"].parameters(), "lr": 0.1}, {"params": module["b"].parameters(), "lr": 0.2}]
        optimizer = SGD(groups, lr=0.3, momentum=0.9)
        scheduler = SCHEDULERS[name](optimizer)
        if divided:
            apply(module, optimizer, scheduler)
        path = [rates(module, optimizer)]
        for _ in range(7):
            optimizer.step()
            scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
            path.append(rates(module, optimizer))
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        paths.append(path)
    for whole, parts in zip(*paths, strict=True):
        assert parts == pytest.approx({name: whole[name] * scale for name, scale in SCALES.items()})
    assert len({tuple(step.values()) for step in paths[0]}) > 1


def test_a_group_keeps_its_other_options_and_a_name_of_its_own() -> None:
    module = make_module()
    optimizer = SGD([{"params": list(module.named_parameters()), "name": "all", "weight_decay": 0.25}], lr=0.1)
    apply(module, optimizer)
    assert [group["name"] for group in optimizer.param_groups] == ["all x0.5", "all x0.125", "all x1"]
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    assert rates(module, optimizer) == pytest.approx({name: 0.1 * scale for name, scale in SCALES.items()})


def test_what_an_optimizer_begins_with_goes_with_what_it_no_longer_holds() -> None:
    module = make_module()
    optimizer = Adagrad(module.parameters(), lr=0.1)
    apply(module, optimizer)
    assert {id(one) for one in optimizer.state} == {id(dict(module.named_parameters())[name]) for name in SCALES}


def test_lbfgs_steps_what_trains_and_takes_one_rate() -> None:
    module = make_module()
    optimizer = LBFGS(module.parameters(), lr=0.1)
    before = module["c"].weight.clone()
    apply(module, optimizer, scales={"a.weight": 0.5})

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = module["a"].weight.square().sum() + module["c"].weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    assert torch.equal(before, module["c"].weight)
    with pytest.raises(UserError, match="LBFGS has one rate for all"):
        apply(module, LBFGS(module.parameters()))


class Foreign(LRScheduler):
    def get_lr(self) -> list[Any]:
        return [0.9 * group["lr"] for group in self.optimizer.param_groups]


def test_a_foreign_scheduler_is_left_alone_where_nothing_is_divided() -> None:
    module = make_module()
    optimizer = SGD([{"params": part.parameters()} for part in module.values()], lr=0.1)
    scales = {name: 1.0 for name, _ in module.named_parameters() if name != "c.bias"}
    apply(module, optimizer, Foreign(optimizer), scales)
    assert rates(module, optimizer).keys() == scales.keys()
    with pytest.raises(UserError, match="the rates of Foreign cannot be divided"):
        apply(module, optimizer, Foreign(optimizer))


@pytest.mark.parametrize("kind", [schedules.CosineAnnealingLR, schedules.CosineAnnealingWarmRestarts])
def test_one_lowest_rate_goes_with_one_scale_only(kind: Callable[..., Any]) -> None:
    module = make_module()
    optimizer = SGD(module.parameters(), lr=0.1)
    scheduler = kind(optimizer, 4, eta_min=0.01)
    apply(module, optimizer, scheduler, {"a.weight": 0.5, "b.bias": 0.5})
    assert scheduler.eta_min == 0.005
    optimizer = SGD(module.parameters(), lr=0.1)
    with pytest.raises(UserError, match=r"eta_min=0.01\) is one lowest rate"):
        apply(module, optimizer, kind(optimizer, 4, eta_min=0.01))


def test_every_parameter_that_trains_has_an_optimizer_and_nothing_else_has() -> None:
    module = make_module()
    with pytest.raises(UserError, match=r"it leaves out b.weight; b.bias, which this phase trains"):
        apply(module, SGD(module["a"].parameters(), lr=0.1))
    with pytest.raises(UserError, match=r"1 of its tensors, of shapes \[3\], are no parameters"):
        apply(module, SGD([*module.parameters(), torch.zeros(3, requires_grad=True)], lr=0.1))
