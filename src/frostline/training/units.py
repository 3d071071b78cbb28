"""Which modules of a network are sharded together: runs of one group's modules that all train, or are all frozen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from frostline.backbones.base import Backbone, evaluating
from frostline.backbones.cuts import Cut, Suffix
from frostline.backbones.taps import JoinedTaps
from frostline.data.inputs import Inputs, Ragged
from frostline.data.sending import Tapped
from frostline.freeze.plan import HEAD
from frostline.training.module import FineTuner


@dataclass
class Unit:
    """Modules of one group whose ``parameters`` are gathered together, in the order in which they are run.

    ``trains`` holds whether their parameters require a gradient: one value, or both where a single module has both
    kinds (a layer of which the bias alone trains). An ``idle`` unit stands before the cut and is never run. Weights
    are gathered in ``dtype``, that to which autocast casts all of them wherever they are read, or (None) in their own.
    """

    group: str
    trains: frozenset[bool]
    idle: bool = False
    dtype: torch.dtype | None = None
    modules: list[nn.Module] = field(default_factory=list)
    parameters: list[nn.Parameter] = field(default_factory=list)

    def add(self, module: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        """Gather the parameters of one more module together with these."""
        self.modules.append(module)
        self.parameters.extend(parameters)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What all modules of a unit have in common."""
        return self.group, self.trains, self.idle, self.dtype

    @property
    def bytes(self) -> int:
        """How much memory it takes while it is gathered."""
        return sum(parameter.numel() * (self.dtype or parameter.dtype).itemsize for parameter in self.parameters)


FRAMES = 8
"""How long a sequence is by which modules are seen at work."""


def make_sample(module: FineTuner) -> Inputs | Tapped:
    """Return one sample for the body of a phase, where its backbone is: one of the data, or what is stored of it."""
    body, backbone = module.body, module.backbone
    if isinstance(body, JoinedTaps):
        taps = {tap.cut: torch.zeros(1, tap.width, device=backbone.device) for tap in body.stored}
        return Tapped(None if body.suffix is None else _make_activation(body.suffix.cut, backbone), taps)
    return _make_activation(body.cut if isinstance(body, Suffix) else None, backbone)


def _make_activation(cut: Cut | None, backbone: Backbone) -> Inputs:
    """Return one sample's activation at a cut, or (None) one sample."""
    if cut is None:
        return backbone.example(1, backbone.preprocess.size)
    if cut.layout:
        return torch.zeros(1, *cut.shape, device=backbone.device)
    return Ragged(torch.zeros(1, FRAMES, *cut.shape), torch.tensor([FRAMES])).to(backbone.device)


def divide_into_units(module: FineTuner, limit: float, lower: torch.dtype | None = None) -> list[Unit]:
    """Divide the modules of a network, as the present phase trains it, into units of at most ``limit`` bytes each.

    Modules alone are larger where they must be; ``lower`` is the precision of autocast, where there is one. The network
    is run once, on one sample and without a gradient, to see which weights autocast casts, and which modules are
    called, and in which order: only a module's call can gather its weights. In a suffix the containers of a network
    are not called, but what is in them is, so a unit is a list of modules and not a container.
    What belongs to no unit (a class token, say, that is read by no module of its own) is left for the whole network's.
    """
    called, cast = _run_once(module, lower)
    members = [*_find_members(module, called, cast), (HEAD, False, module.head)]
    found: list[Unit] = []
    taken: set[nn.Parameter] = set()
    inside_first = sorted(members, key=lambda listed: not _is_cast(listed[2], cast))
    for group, idle, member in inside_first:
        own = [parameter for parameter in member.parameters() if parameter not in taken]
        taken.update(own)
        trains = frozenset(parameter.requires_grad for parameter in own)
        alone = Unit(group, trains, idle, lower if cast.issuperset(own) else None, [member], own)
        alike = [unit for unit in found if unit.kind == alone.kind]
        if alike and alike[-1].bytes + alone.bytes <= limit:
            alike[-1].add(member, own)
        else:
            found.append(alone)
    return found


def _is_cast(member: nn.Module, cast: set[nn.Parameter]) -> bool:
    return cast.issuperset(member.parameters())


def _find_members(
    module: FineTuner, called: dict[nn.Module, int], cast: set[nn.Parameter]
) -> list[tuple[str, bool, nn.Module]]:
    """Return the backbone's modules to be sharded, in the order they are run: group, whether idle, module.

    None is inside another but where autocast casts all of it, and of the other only that.
    """
    backbone = module.backbone
    read = _read_directly(module.body, backbone)
    groups = _groups_of_modules(backbone)
    starts_late = isinstance(module.body, Suffix | JoinedTaps)
    chosen: dict[str, bool] = {}
    for path, owner in backbone.named_modules():
        own = {id(parameter) for parameter in owner.parameters(recurse=False)}
        if own and not own & read:
            usable = [above for above in _walk_up(path) if len(groups[above]) == 1]
            caller = next((above for above in usable if backbone.get_submodule(above) in called), None)
            if caller is not None:
                chosen[caller] = False
            elif path in usable and starts_late and not called.keys() & set(owner.modules()):
                chosen[path] = True
    members = {path: backbone.get_submodule(path) for path in chosen}
    found = []
    for path, member in members.items():
        above = [members[higher] for higher in list(_walk_up(path))[1:] if higher in members]
        if not above or (_is_cast(member, cast) and not any(_is_cast(higher, cast) for higher in above)):
            found.append((next(iter(groups[path])), chosen[path], member))
    return sorted(found, key=lambda member: called.get(member[2], -1))


def _run_once(module: FineTuner, lower: torch.dtype | None) -> tuple[dict[nn.Module, int], set[nn.Parameter]]:
    """Return the modules that one pass calls, with their places in the order, and the parameters it casts.

    The pass is made where the network is, in main memory; what autocast casts there it casts on a GPU as well.
    """
    order: dict[nn.Module, int] = {}

    def note(called: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        order.setdefault(called, len(order))

    inputs, reads = make_sample(module), Reads(lower)
    autocast = torch.autocast(module.backbone.device.type, lower, enabled=lower is not None, cache_enabled=False)
    handle = register_module_forward_pre_hook(note)
    try:
        with evaluating(module), torch.no_grad(), autocast, reads:
            module(inputs)
    finally:
        handle.remove()
    return order, reads.cast - reads.direct


class Reads(TorchDispatchMode):
    """Notes which parameters are cast to ``lower`` where they are read, and which are read as they are."""

    def __init__(self, lower: torch.dtype | None) -> None:
        super().__init__()
        self.lower = lower
        self.cast: set[nn.Parameter] = set()
        self.direct: set[nn.Parameter] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        lowers = self.lower is not None and kwargs.get("dtype") is self.lower
        noted = self.cast if lowers and func is torch.ops.aten._to_copy.default else self.direct
        noted.update(value for value in tree_leaves((args, kwargs)) if isinstance(value, nn.Parameter))
        return func(*args, **kwargs)


def _read_directly(body: nn.Module, backbone: Backbone) -> set[int]:
    """Return the parameters (by id) that a suffix's graph reads itself, not in a call of the module that owns them."""
    if isinstance(body, Suffix | JoinedTaps):
        body.refresh()
    own = set(backbone.modules())
    return {id(p) for part in body.modules() if part not in own for p in part.parameters(recurse=False)}


def _groups_of_modules(backbone: Backbone) -> dict[str, set[str]]:
    """Return the groups of which each module, by its path, holds parameters."""
    owner = {name: group for group, names in backbone.groups.items() for name in names}
    found: dict[str, set[str]] = {path: set() for path, _ in backbone.named_modules()}
    for name, group in owner.items():
        for path in _walk_up(name.rpartition(".")[0]):
            found[path].add(group)
    return found


def _walk_up(path: str) -> Iterator[str]:
    """Yield a module's path and those of the modules that hold it, short of the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]
