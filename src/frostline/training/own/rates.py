"""The plan's rates for optimizers and schedulers that somebody else has made."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import LBFGS, Optimizer

from frostline.errors import UserError
from frostline.units import join_lines

Scales = Mapping[Tensor, float]
RATES = ("lr", "initial_lr", "max_lr", "min_lr")
"""What a group of an optimizer may hold that goes with its rate; the last two are OneCycleLR's."""
SCALED = ("base_lrs", "max_lrs", "min_lrs", "_last_lr")
COPIED = ("lr_lambdas", "base_momentums", "max_momentums")
"""What torch's schedulers hold for each group of the optimizer: rates, and what else."""


class GroupPart(NamedTuple):
    """What became of a group of the optimizer: its ``place`` among those that were there, and the scale of its rate."""

    place: int
    scale: float


def apply_rates(
    optimizers: Sequence[Optimizer], schedulers: Sequence[Any], scales: Mapping[str, float], names: Mapping[Any, str]
) -> None:
    """Leave in optimizers, just made, the parameters that train, each group's rate times the scales of the plan.

    ``scales`` has the parameters that train by name, ``names`` the names of all. A group whose parameters have several
    scales is divided; each part keeps the group's other options. Schedulers go on as if each part had been a group from
    the start. Raises UserError for a parameter that trains but has no optimizer, and for what cannot be divided.
    """
    kept = {parameter: scales[name] for parameter, name in names.items() if name in scales}
    for optimizer in optimizers:
        strangers = [str(list(p.shape)) for group in optimizer.param_groups for p in group["params"] if p not in names]
        if strangers:
            raise UserError(
                f"configure_optimizers: {len(strangers)} of its tensors, of shapes {join_lines(strangers)}, "
                "are no parameters of the module; register them, so that they belong to a group."
            )
        before = len(optimizer.param_groups)
        parts = divide_groups(optimizer, kept)
        own = [scheduler for scheduler in schedulers if scheduler.optimizer is optimizer]
        if parts != [GroupPart(place, 1.0) for place in range(before)]:
            for scheduler in own:
                adapt_scheduler(scheduler, parts)
    held = {p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    left = [names[parameter] for parameter in kept if parameter not in held]
    if left:
        raise UserError(
            f"configure_optimizers: it leaves out {join_lines(left)}, which this phase trains; "
            "give it self.parameters()."
        )


def divide_groups(optimizer: Optimizer, scales: Scales) -> list[GroupPart]:
    """Divide an optimizer's groups by the scales of their parameters; return what became of each, in the new order."""
    parts: list[GroupPart] = []
    groups: list[dict[str, Any]] = []
    for place, group in enumerate(optimizer.param_groups):
        found: dict[float, list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter in scales:
                found.setdefault(scales[parameter], []).append(parameter)
        copies = [group, *({**group, "params": []} for _ in list(found)[1:])]
        for (scale, own), part in zip(found.items(), copies, strict=False):
            part["params"][:] = own  # in place: some optimizers remember the list
            scale_rates(part, scale, divided=len(found) > 1)
            groups.append(part)
            parts.append(GroupPart(place, scale))
    if isinstance(optimizer, LBFGS) and len(groups) > 1:
        raise UserError(
            "configure_optimizers: LBFGS has one rate for all; take another optimizer, or a plan of one rate."
        )
    optimizer.param_groups[:] = groups
    for parameter in [parameter for parameter in optimizer.state if parameter not in scales]:
        del optimizer.state[parameter]  # some optimizers begin with a state for each
    return parts


def scale_rates(group: dict[str, Any], scale: float, divided: bool) -> None:
    """Multiply a group's rates by ``scale``; a name of one that was ``divided`` says it, as names must be unique."""
    if scale != 1:
        group.update({key: group[key] * scale for key in RATES if key in group})
    if divided and "name" in group:
        group["name"] = f"{group['name']} x{scale:.3g}"


def adapt_scheduler(scheduler: Any, parts: Sequence[GroupPart]) -> None:
    """Give a scheduler of torch's the groups that its optimizer has now. Raises UserError where that cannot be."""
    name = type(scheduler).__name__
    if type(scheduler).__module__ != "torch.optim.lr_scheduler":
        raise UserError(
            f"configure_optimizers: the rates of {name} cannot be divided by the plan; take a scheduler of "
            "torch.optim.lr_scheduler, or a plan that trains all groups of the optimizer at scale 1."
        )
    for inner in getattr(scheduler, "_schedulers", ()):  # SequentialLR's and ChainedScheduler's
        adapt_scheduler(inner, parts)
    held = vars(scheduler)
    held.update({key: [held[key][part.place] for part in parts] for key in COPIED if key in held})
    held.update({key: [held[key][part.place] * part.scale for part in parts] for key in SCALED if key in held})
    if held.get("eta_min"):  # one lowest rate for all groups
        scales = {part.scale for part in parts}
        if len(scales) > 1:
            raise UserError(
                f"configure_optimizers: {name}(eta_min={scheduler.eta_min}) is one lowest rate for groups "
                "that have different ones by the plan; use eta_min=0."
            )
        held["eta_min"] *= scales.pop()
