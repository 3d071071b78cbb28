"""Which modules of a network are sharded together: runs of one group's modules that all train, or are all frozen."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from frostline.backbones.base import Backbone, evaluating
from frostline.backbones.cuts import Suffix
from frostline.data.inputs import Inputs, Ragged
from frostline.freeze.plan import HEAD
from frostline.training.module import FineTuner


@dataclass
class Unit:
    """Modules of one group whose weights are gathered together, in the order in which they are run.

    ``trains`` holds whether their parameters require a gradient: one value, or both where a single module has both
    kinds (a layer of which the bias alone trains). An ``idle`` unit stands before the cut and is never run.
    """

    group: str
    trains: frozenset[bool]
    idle: bool = False
    modules: list[nn.Module] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """How much memory it takes while it is gathered."""
        return sum(parameter.nbytes for module in self.modules for parameter in module.parameters())


FRAMES = 8
"""How long a sequence is by which modules are seen at work."""


def example(module: FineTuner) -> Inputs:
    """Return one sample for the body of a phase, where its backbone is: one of the data, or its activation."""
    body, backbone = module.body, module.backbone
    if not isinstance(body, Suffix):
        return backbone.example(1, backbone.preprocess.size)
    if body.cut.layout:
        return torch.zeros(1, *body.cut.shape, device=backbone.device)
    return Ragged(torch.zeros(1, FRAMES, *body.cut.shape), torch.tensor([FRAMES])).to(backbone.device)


def units(module: FineTuner, limit: float) -> list[Unit]:
    """Divide the modules of a network, as the present phase trains it, into units of at most ``limit`` bytes each.

    Modules alone are larger where they must be. The body is run once, on one sample and without a gradient, to see
    which modules are called, and in which order: only a module's call can gather its weights. In a suffix the
    containers of a network are not called, but what is in them is, so a unit is a list of modules and not a container.
    What belongs to no unit (a class token, say, that is read by no module of its own) is left for the whole network's.
    """
    found: list[Unit] = []
    for group, idle, member in [*_members(module), (HEAD, False, module.head)]:
        trains = frozenset(parameter.requires_grad for parameter in member.parameters())
        alike = [unit for unit in found if (unit.group, unit.trains, unit.idle) == (group, trains, idle)]
        if not alike or alike[-1].bytes + sum(parameter.nbytes for parameter in member.parameters()) > limit:
            found.append(Unit(group, trains, idle))
            alike = found[-1:]
        alike[-1].modules.append(member)
    return found


def _members(module: FineTuner) -> list[tuple[str, bool, nn.Module]]:
    """Return the backbone's modules to be sharded, in the order they are run: group, whether idle, module."""
    backbone, called = module.backbone, _called(module)
    read = _read(module.body, backbone)
    groups = _groups(backbone)
    chosen: dict[str, bool] = {}
    for path, owner in backbone.named_modules():
        own = {id(parameter) for parameter in owner.parameters(recurse=False)}
        if own and not own & read:
            usable = [above for above in _upwards(path) if len(groups[above]) == 1]
            caller = next((above for above in usable if backbone.get_submodule(above) in called), None)
            if caller is not None:
                chosen[caller] = False
            elif path in usable and isinstance(module.body, Suffix) and not called.keys() & set(owner.modules()):
                chosen[path] = True
    outermost = [path for path in chosen if not any(above in chosen for above in list(_upwards(path))[1:])]
    found = [(next(iter(groups[path])), chosen[path], backbone.get_submodule(path)) for path in outermost]
    return sorted(found, key=lambda member: called.get(member[2], -1))


def _called(module: FineTuner) -> dict[nn.Module, int]:
    """Return the modules that one pass through the body calls, with their places in the order."""
    order: dict[nn.Module, int] = {}

    def note(called: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        order.setdefault(called, len(order))

    handle = register_module_forward_pre_hook(note)
    try:
        with evaluating(module.backbone), torch.no_grad():
            module.body(example(module))
    finally:
        handle.remove()
    return order


def _read(body: nn.Module, backbone: Backbone) -> set[int]:
    """Return the parameters (by id) that a suffix's graph reads itself, not in a call of the module that owns them."""
    if isinstance(body, Suffix):
        body.refresh()
    own = set(backbone.modules())
    return {id(p) for part in body.modules() if part not in own for p in part.parameters(recurse=False)}


def _groups(backbone: Backbone) -> dict[str, set[str]]:
    """Return the groups of which each module, by its path, holds parameters."""
    owner = {name: group for group, names in backbone.groups.items() for name in names}
    found: dict[str, set[str]] = {path: set() for path, _ in backbone.named_modules()}
    for name, group in owner.items():
        for path in _upwards(name.rpartition(".")[0]):
            found[path].add(group)
    return found


def _upwards(path: str) -> Iterator[str]:
    """Yield a module's path and those of the modules that hold it, short of the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]
