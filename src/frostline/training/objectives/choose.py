"""Which objective a phase has: that of the config, or one that a plan names."""

from collections.abc import Callable, Mapping
from typing import Any

from frostline.config.allow import components, instantiate
from frostline.errors import UserError
from frostline.training.objectives.alignment import Alignment
from frostline.training.objectives.base import Objective, Penalised, Penalty
from frostline.training.objectives.task import TaskLoss

OF_PLANS: dict[str, Callable[[], Objective]] = {"align": Alignment}
"""The objectives that a plan's phase names; every other phase has that of the config."""


def make_objectives(node: Mapping[str, Any]) -> dict[str, Objective]:
    """Return the objectives by the names that phases have for them; "task" is that of the config, ``node``."""
    return {"task": make_objective(node), **{name: make() for name, make in OF_PLANS.items()}}


def make_objective(node: Mapping[str, Any]) -> Objective:
    """Return what a config's ``objective`` describes: an objective, penalties, or both, one alone or each by its name.

    Penalties alone are added to the task's loss. Raises UserError for several objectives, and for what is neither.
    """
    objectives, penalties = dict[str, Objective](), dict[str, Penalty]()
    for name, (where, inner) in components(node, "objective").items():
        made = instantiate(inner, where)
        if isinstance(made, Penalty):
            penalties[name] = made
        elif isinstance(made, Objective):
            objectives[name] = made
        else:
            raise UserError(f"{where}: {inner['_target_']} is invalid: expected an Objective or a Penalty.")
    for name in {"loss", "distance"} & set(penalties):
        raise UserError(f"objective.{name}: the name is taken by what an objective counts; give the penalty another.")
    if len(objectives) > 1:
        raise UserError(
            f"objective: {' and '.join(objectives)} cannot both be minimised: expected one objective, and any number "
            "of penalties."
        )
    objective = next(iter(objectives.values()), None) or TaskLoss()
    return Penalised(objective, penalties) if penalties else objective


def check_solvable(objective: Objective, node: Mapping[str, Any]) -> None:
    """Refuse an objective that the solver of a head cannot follow. Raises UserError."""
    if not objective.solvable:
        names = ", ".join(components(node, "objective"))
        raise UserError(f"objective: {names} is minimised in steps only, which head.solver does not take; use null.")
