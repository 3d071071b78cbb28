"""Which objective a phase has: the config's, with penalties that are added to it, or one that a plan names."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.configs import make_plan
from tests.tuners import TASK_LOSS
from torch import Tensor

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.config.schema import check_config
from frostline.errors import UserError
from frostline.freeze import strategies
from frostline.results.store import run_id
from frostline.training.module import FineTuner
from frostline.training.objectives.base import Objective, Penalised, Penalty, Step
from frostline.training.objectives.choose import check_solvable, make_objective, make_objectives
from frostline.training.objectives.task import TaskLoss


class Tether(Penalty):
    """Holds the weights that train to those that the run began with (as in Li et al. 2018), and features to 0."""

    def __init__(self, weights: float = 0.0, features: float = 0.0) -> None:
        self.weights, self.features = weights, features

    def begin(self, module: FineTuner) -> None:
        named = dict(module.backbone.named_parameters())
        trains = [name for name in module.start_weights if named[name].requires_grad]
        self.pairs = [(named[name], module.start_weights[name]) for name in trains]

    def __call__(self, step: Step) -> Tensor:
        moved = sum(((now - then).square().sum() for now, then in self.pairs), torch.zeros(()))
        return self.weights * moved + self.features * step.features.square().mean()


class Other(Objective):
    """Another objective than the task's."""

    def __call__(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        return step.outputs.square().mean(), {}  # type: ignore[union-attr]


@pytest.fixture
def mine() -> Any:
    """Let configs name what stands here; return what makes a node of it."""
    allow([__name__])
    yield lambda name, **options: {"_target_": f"{__name__}.{name}", **options}
    allow([])


def test_the_config_has_the_task_s_loss_and_a_plan_may_name_another() -> None:
    config = resolve(compose("run", []))
    assert config.objective == TASK_LOSS
    objectives = make_objectives(config.objective)
    assert isinstance(objectives["task"], TaskLoss) and not objectives["align"].scored
    check_solvable(objectives["task"], config.objective)


def test_a_penalty_alone_is_added_to_the_task_s_loss(mine: Any) -> None:
    for node in (mine("Tether"), {"tether": mine("Tether")}, {"tether": mine("Tether"), "task": TASK_LOSS}):
        objective = make_objective(node)
        assert isinstance(objective, Penalised) and isinstance(objective.objective, TaskLoss) and objective.scored
        with pytest.raises(UserError, match=r"^objective: (Tether|tether).* in steps only, .* head\.solver"):
            check_solvable(objective, node)


def test_what_cannot_be_minimised_is_refused(mine: Any) -> None:
    with pytest.raises(UserError, match="^objective: task and other cannot both be minimised: expected one"):
        make_objective({"task": TASK_LOSS, "other": mine("Other")})
    with pytest.raises(UserError, match=r"^objective\.x: .*Plain.* is invalid: expected an Objective or a Penalty"):
        make_objective({"x": mine("Plain")})
    plain = resolve(compose("run", [])).plain()
    for wrong in ({}, {"x": 3}, "task"):
        with pytest.raises(UserError, match="^objective"):
            check_config({**plain, "objective": wrong})
    with pytest.raises(UserError, match=r"^objective\._target_: .* is not on the allow-list"):
        check_config({**plain, "objective": {"_target_": "torch.nn.MSELoss"}})


class Plain:
    """Neither an objective nor a penalty."""


def test_it_is_part_of_what_a_run_is() -> None:
    plain = resolve(compose("run", []))
    named = resolve(compose("run", ["~objective", "+objective.task={_target_: " + TASK_LOSS["_target_"] + "}"]))
    assert run_id(plain) != run_id(named)


def test_a_penalty_sees_what_the_run_began_with_and_is_recorded(build: Any, tmp_path: Path) -> None:
    """After a kill too: a run that goes on ends as if it had never stopped."""
    moved = {}
    for weight in (0.0, 100.0):
        objective = Penalised(TaskLoss(), {"tether": Tether(weight, 1e-3)})
        rig = build(strategies.full, epochs=2, folder=tmp_path / f"{weight}", objective=objective)
        stops = rig.photograph()
        rig.fit(0)
        assert {"train/loss", "train/accuracy", "train/tether"} <= set(rig.rows[0])
        assert rig.rows[1]["train/tether"] > 0
        now = dict(rig.backbone.named_parameters())
        moved[weight] = sum(
            float((now[n].detach() - then).square().sum()) for n, then in rig.weights.parameters.items()
        )
        again = build(strategies.full, epochs=2, folder=stops[0], objective=objective)
        again.fit(0, restore=again.resume())
        assert all(value.equal(again.tensors()[name]) for name, value in rig.tensors().items())
    assert moved[100.0] < moved[0.0] / 2


def test_what_a_penalty_takes_at_the_beginning_of_a_phase_ends_with_it(build: Any) -> None:
    rig = build(partial(make_plan, "lp_ft"), epochs=2, objective=Penalised(TaskLoss(), {"tether": Tether()}))
    lengths = []
    for index in range(2):
        rig.fit(index)
        lengths.append(len(rig.module.objective.penalties["tether"].pairs))
    assert lengths[0] == 0 < lengths[1]
    assert not hasattr(rig.module.objectives["task"].penalties["tether"], "pairs")
