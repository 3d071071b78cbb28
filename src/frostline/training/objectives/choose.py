"""Which objective a phase has: that of the config, or one that a plan names."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from frostline.config.allow import instantiate, list_components
from frostline.errors import UserError
from frostline.training import objectives
from frostline.training.objectives.base import Objective, Penalised, Penalty
from frostline.training.objectives.task import TaskLoss


def make_objectives(node: Mapping[str, Any]) -> dict[str, Objective]:
    """Return the objectives by the names that phases have for them.

    "task" is that of the config, ``node``; the others are those in this package that have a ``name_in_plans``.
    """
    found = {"task": make_objective(node)}
    for module in pkgutil.iter_modules(objectives.__path__, f"{objectives.__name__}."):
        for one in vars(importlib.import_module(module.name)).values():
            if isinstance(one, type) and issubclass(one, Objective) and one.name_in_plans is not None:
                found[one.name_in_plans] = one()
    return found


def make_objective(node: Mapping[str, Any]) -> Objective:
    """Return what a config's ``objective`` describes: an objective, penalties, or both; one alone, or several by name.

    Penalties alone are added to the task's loss. Raises UserError for several objectives, and for what is neither.
    """
    aims, penalties = dict[str, Objective](), dict[str, Penalty]()
    for name, (where, inner) in list_components(node, "objective").items():
        made = instantiate(inner, where)
        if isinstance(made, Penalty):
            penalties[name] = made
        elif isinstance(made, Objective):
            aims[name] = made
        else:
            raise UserError(f"{where}: {inner['_target_']} is invalid: expected an Objective or a Penalty.")
    for name in {"loss", "distance"} & set(penalties):
        raise UserError(f"objective.{name}: the name is taken by what an objective counts; give the penalty another.")
    if len(aims) > 1:
        raise UserError(
            f"objective: {' and '.join(aims)} cannot both be minimised: expected one objective, and any number "
            "of penalties."
        )
    objective = next(iter(aims.values()), None) or TaskLoss()
    return Penalised(objective, penalties) if penalties else objective


def check_solvable(objective: Objective, node: Mapping[str, Any]) -> None:
    """Refuse an objective that the solver of a head cannot follow. Raises UserError."""
    if not objective.solvable:
        names = ", ".join(list_components(node, "objective"))
        raise UserError(f"objective: {names} is minimised in steps only, which head.solver does not take; use null.")
