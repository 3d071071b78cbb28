"""Which group, or the head, each parameter and each module of one's own LightningModule belongs to."""

from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from frostline.backbones.base import find_kinds
from frostline.backbones.groups import Patterns, generic_groups, list_patterns, matches
from frostline.errors import UserError
from frostline.freeze.plan import HEAD, Phase, learning_rates
from frostline.units import join_lines


class Groups:
    """The groups of a module in depth order, its head, and what of them may train at all.

    A parameter that requires no gradient when this is made never trains: a teacher, say, or a fixed table. ``modes``
    are those that the modules had, by path, to which what is not frozen goes back.
    """

    def __init__(self, module: nn.Module, head: Patterns, groups: Mapping[str, Patterns] | None = None):
        """Group by ``groups``, or else by the module's children; what ``head`` names belongs to no group.

        Raises UserError, naming the pattern or the parameters, unless every parameter belongs to exactly one group.
        """
        if groups is not None:
            check_names(groups)
        self.patterns = {
            name: list_patterns(own, say_where(name)) for name, own in {HEAD: head, **(groups or {})}.items()
        }
        found = find_members(module, self.patterns)
        if groups is None:
            taken = set(found[HEAD])
            found |= {name: [one for one in own if one not in taken] for name, own in generic_groups(module).items()}
        self.names = tuple(name for name, own in found.items() if own and name != HEAD)
        self.owner = find_owners(module, found)
        self.parameters = {name: own for name, own in module.named_parameters() if own.requires_grad}
        self.kinds = find_kinds(module)
        self.modes = {path: part.training for path, part in module.named_modules()}

    def members(self) -> dict[str, list[str]]:
        """Return the names of the parameters that may train, by group, the head last."""
        return {name: [one for one in self.parameters if self.owner[one] == name] for name in (*self.names, HEAD)}

    def rates(self, phase: Phase) -> dict[str, float]:
        """Return the scale of the learning rate of each parameter that trains in ``phase``, by its name.

        Raises UserError where a kind of parameter that the phase asks for is not there.
        """
        members = self.members()
        rates = learning_rates(phase, members, self.kinds)
        if HEAD in phase.train:
            rates |= dict.fromkeys(members[HEAD], phase.train[HEAD].lr)
        return rates

    def frozen_modules(self, module: nn.Module, phase: Phase) -> dict[str, nn.Module]:
        """Return the modules, by path, all of whose parameters belong to what is frozen in ``phase``.

        A module without parameters belongs where its path says, or else with what stands before it. One that holds
        both what is frozen and what trains, the root first of all, is not frozen: its own code may ask for its mode,
        as detection models do to tell whether to return a loss.
        """
        frozen = {name for name in (*self.names, HEAD) if name not in phase.train}
        return {path: part for path, part, groups in self._modules(module) if groups <= frozen}

    def _modules(self, module: nn.Module) -> Iterable[tuple[str, nn.Module, set[str]]]:
        """Yield each module with its path and the groups that it holds."""
        last = self.names[0]
        for path, part in module.named_modules():
            own = [self.owner[name] for name, _ in part.named_parameters(path, recurse=False)]
            held = {self.owner[name] for name, _ in part.named_parameters(path)}
            last = own[-1] if own else last
            said = [name for name, own in self.patterns.items() if any(matches(one, path) for one in own)]
            yield path, part, held or {said[0] if said else last}


def find_members(module: nn.Module, groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the parameters that each group's patterns match; of groups that match the same, the first has it.

    Raises UserError for a pattern that matches nothing, or only what groups before it have.
    """
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    bare = {path for path, part in module.named_modules() if next(part.parameters(), None) is None}
    left = dict.fromkeys(names)
    found: dict[str, list[str]] = {}
    for group, patterns in groups.items():
        matched = {pattern: [name for name in names if matches(pattern, name)] for pattern in patterns}
        for pattern, own in matched.items():
            where = say_where(group)
            if not own and pattern not in bare:
                raise UserError(
                    f"{where}: {pattern!r} matches no parameter of the module; expected the path of a module or "
                    f"parameter, or a glob. The module's own parts are: {', '.join(list_parts(names))}."
                )
            if own and not left.keys() & set(own):
                raise UserError(f"{where}: {pattern!r} only matches what groups before it have; put it before them.")
        found[group] = [name for name in left if any(name in own for own in matched.values())]
        left = {name: None for name in left if name not in found[group]}
    return found


def say_where(group: str) -> str:
    """Return the argument that a group's patterns were given in."""
    return HEAD if group == HEAD else f"groups[{group!r}]"


def list_parts(names: Sequence[str]) -> list[str]:
    """Return the names of the parts of a module that hold its parameters."""
    return list(dict.fromkeys(name.partition(".")[0] for name in names)) or ["none"]


def check_names(groups: Mapping[str, Patterns]) -> None:
    """Raise UserError for groups that a plan could not name."""
    if not groups or HEAD in groups or not all(isinstance(name, str) and name for name in groups):
        raise UserError(
            f"groups: {list(groups)} is invalid: expected one or more names of groups, the lowest first, without "
            f"{HEAD!r}, which has an argument of its own."
        )


def find_owners(module: nn.Module, found: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the group of each parameter by its name, of one with several names by each of them.

    Raises UserError unless each parameter belongs to exactly one group, and there is a group beside the head.
    """
    if not any(own for name, own in found.items() if name != HEAD):
        raise UserError("head: it holds every parameter of the module, so there is nothing to freeze; name less of it.")
    owner = {one: name for name, own in found.items() for one in own}
    first: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        other = first.setdefault(id(parameter), name)
        if owner.setdefault(name, owner.get(other, "")) != owner[other]:
            raise UserError(
                f"groups: {other} and {name} are one parameter, but belong to {owner[other]} and {owner[name]}; put "
                "both into one group."
            )
    left = [name for name, group in owner.items() if not group]
    if left:
        raise UserError(f"groups: no pattern matches {join_lines(left)}; every parameter belongs to exactly one group.")
    return owner
