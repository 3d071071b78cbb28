"""Depth-ordered groups of a network's parameters: timm's own where it has them, one generic rule elsewhere."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from frostline.backbones.base import NORMS
from frostline.errors import UserError

DOMINANT = 0.9
NamedModule = tuple[str, nn.Module]
Patterns = str | Sequence[str]
"""Paths of modules or parameters (``net.fc``), or globs over these (``net.layer*``, ``net.*.bias``)."""


def list_patterns(patterns: Patterns, key: str) -> list[str]:
    """Return patterns as a list. Raises UserError for anything but text."""
    texts = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise UserError(f"{key}: {patterns!r} is invalid: expected a path such as 'net.fc', or a list of them.")
    return list(texts)


def matches(pattern: str, name: str) -> bool:
    """Return whether a path or a glob names a parameter or module, or a module that holds it."""
    if name == pattern or name.startswith(f"{pattern}."):  # a path, whatever its characters mean in a glob
        return True
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def find_timm_groups(network: nn.Module) -> dict[str, list[str]]:
    """Return a timm network's groups, by its own matcher; those few without one fall under the generic rule.

    A last group of nothing but a normalisation (what a classifier leaves behind) joins the one before it.
    """
    from timm.models._manipulate import group_with_matcher  # takes most of a second, which other networks do without

    matcher = getattr(network, "group_matcher", None)
    if matcher is None:
        return find_generic_groups(network)
    found = group_with_matcher(network.named_parameters(), matcher(coarse=True))
    groups = [list(found[ordinal]) for ordinal in sorted(found)]
    owners = dict(network.named_modules())
    if len(groups) > 1 and all(isinstance(owners[name.rpartition(".")[0]], NORMS) for name in groups[-1]):
        groups[-2:] = [groups[-2] + groups[-1]]
    return name_groups(groups, network)


def find_generic_groups(network: nn.Module) -> dict[str, list[str]]:
    """Return groups made from the root's children, in the order of their registration.

    A container that holds nearly all parameters is replaced by its children. Lone layers (at most one weight
    matrix) at the front form the stem, with the parameters that no unit holds; later ones join the group before
    them. In a network of nothing but lone layers (VGG) each weight matrix starts a group.
    """
    units, front = _units(network)
    plain = all(_matrices(module) <= 1 for _, module in units)
    groups: list[list[str]] = []
    for name, module in units:
        members = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
        if _matrices(module) > (0 if plain else 1):
            groups.append(members)
        else:
            (groups[-1] if groups else front).extend(members)
    if groups and (plain or not front):
        front.extend(groups.pop(0))
    return name_groups(_without_ties([front, *groups], network), network)


def _units(network: nn.Module) -> tuple[list[NamedModule], list[str]]:
    """Return what groups are made of, and the parameters that none of it holds: the root's and expanded containers'."""
    units = _list_parametrised(network)
    loose = [name for name, _ in network.named_parameters(recurse=False)]
    while name := _find_dominant(units) or _find_largest_of_few(units):
        place = next(place for place, unit in enumerate(units) if unit[0] == name)
        module = units[place][1]
        loose += [f"{name}.{own}" for own, _ in module.named_parameters(recurse=False)]
        units[place : place + 1] = [(f"{name}.{child}", inner) for child, inner in _list_parametrised(module)]
    return units, loose


def _find_dominant(units: Sequence[NamedModule]) -> str | None:
    """Return the name of the unit that holds nearly all parameters, if it is made of several parts."""
    total = sum(_size(module) for _, module in units)
    return next((name for name, module in units if _size(module) > DOMINANT * total and _is_expandable(module)), None)


def _find_largest_of_few(units: Sequence[NamedModule]) -> str | None:
    """Return the name of the largest container where fewer than three units have more than one weight matrix."""
    if sum(_matrices(module) > 1 for _, module in units) >= 3:
        return None
    containers = [(_size(module), name) for name, module in units if len(_list_parametrised(module)) > 1]
    return max(containers)[1] if containers else None


def _is_expandable(module: nn.Module) -> bool:
    children = _list_parametrised(module)
    total = _size(module)
    return len(children) >= 3 or any(_size(child) > DOMINANT * total and _is_expandable(child) for _, child in children)


def _list_parametrised(module: nn.Module) -> list[NamedModule]:
    return [(name, child) for name, child in module.named_children() if _size(child)]


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _matrices(module: nn.Module) -> int:
    """Count weight matrices (and filters): a lone layer has at most one."""
    return sum(parameter.ndim > 1 for parameter in module.parameters())


def _without_ties(groups: Iterable[Iterable[str]], network: nn.Module) -> list[list[str]]:
    """Keep of each parameter that has several names the one it has in ``named_parameters()``."""
    names = {name for name, _ in network.named_parameters()}
    return [[name for name in group if name in names] for group in groups]


def name_groups(groups: Sequence[Iterable[str]], network: nn.Module) -> dict[str, list[str]]:
    """Name groups in depth order: ``stem``, then stages of a convolutional network or blocks of a transformer."""
    kind = "stage" if has_several_convolutions(network) else "block"
    names = ["stem", *(f"{kind}{place}" for place in range(1, len(groups)))]
    return {name: list(members) for name, members in zip(names, groups, strict=True)}


def has_several_convolutions(network: nn.Module) -> bool:
    """Return whether a network is convolutional; a plain transformer has one convolution, which embeds patches."""
    return sum(isinstance(module, nn.Conv2d) for module in network.modules()) > 1
