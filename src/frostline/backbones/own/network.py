"""A user's module with what must be known of it, and what is done to a copy of it before it trains."""

import copy
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import torch
from torch import nn

from frostline.backbones.own.code import digest_code
from frostline.backbones.weights.loading import fingerprint
from frostline.errors import UserError, named
from frostline.files.atomic import sha256_json

Groups = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class OwnNetwork:
    """A copy of a user's module with what Frostline must be told of it; ``as_backbone`` explains the fields.

    Neither the user's module nor this copy is changed by a run, which trains a copy of its own.
    """

    module: nn.Module
    shape: Sequence[int] | None = None
    dtype: str = "float32"
    groups: Groups | None = None
    classifier: str | None = None
    name: str | None = None
    content: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "module", copy_network(self.module))

    @cached_property
    def identity(self) -> tuple[str, list[str]]:
        """Text that stands for the network's weights and code, and notes on what could not be read of these.

        Where something could not be read it is another text each time, so that nothing of earlier runs is reused.
        """
        if self.content is not None:
            return self.content, []
        code, unread = digest_code(self.module)
        if unread:
            return uuid.uuid4().hex, [
                f"nothing is reused of earlier runs of {type(self.module).__name__}: what it computes depends on "
                f"what cannot be read ({named(unread, 3)}); give content= a text that changes whenever that does"
            ]
        tensors = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return sha256_json([fingerprint(tensors), code]), []

    def node(self, shape: Sequence[int], dtype: str) -> dict[str, Any]:
        """Return the node of a config that stands for this network, for inputs of ``shape`` where none was given."""
        groups = None if self.groups is None else {name: _listed(members) for name, members in self.groups.items()}
        return {
            "name": self.name or type(self.module).__name__,
            "content": self.identity[0],
            "shape": list(self.shape or shape),
            "dtype": self.dtype if self.shape else dtype,
            "groups": groups,
            "classifier": self.classifier,
        }


def match_groups(network: nn.Module, groups: Groups, key: str = "backbone.groups") -> dict[str, list[str]]:
    """Return the names of each group's parameters.

    A pattern names parameters, or modules with all that is in them, and may be a glob. Raises UserError for one that
    matches nothing, and unless each parameter is in exactly one group.
    """
    names = [name for name, _ in network.named_parameters()]
    owner: dict[str, str] = {}
    for group, patterns in groups.items():
        for pattern in _listed(patterns):
            found = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
            if not found:
                children = ", ".join(name for name, _ in network.named_children())
                raise UserError(f"{key}.{group}: {pattern!r} matches no parameter; modules are: {children}.")
            for name in found:
                if owner.setdefault(name, group) != group:
                    raise UserError(f"{key}.{group}: {name} is in {owner[name]} already; a parameter is in one group.")
    left = [name for name in names if name not in owner]
    if left:
        raise UserError(f"{key}: {len(left)} parameters are in no group: {named(left, 5)}; name them in one.")
    return {group: [name for name in names if owner[name] == group] for group in groups}


def remove_layer(network: nn.Module, name: str) -> None:
    """Put an identity in place of a layer. Raises UserError where there is none of that name."""
    modules = dict(network.named_modules())
    if not name or name not in modules:
        layers = [path for path, module in modules.items() if path and not any(True for _ in module.children())]
        raise UserError(f"backbone.classifier: there is no {name!r}; the last layers are: {', '.join(layers[-5:])}.")
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())


@torch.no_grad()
def randomise(network: nn.Module, label: str) -> None:
    """Give a network random weights, by each module's ``reset_parameters``, those of inner modules first.

    Raises UserError that names the modules with parameters which have no such method.
    """
    unable = []
    for name, module in reversed([*network.named_modules()]):
        # torch's attention and transformers have it with an underscore
        found = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if callable(found):
            found()
        elif any(True for _ in module.parameters(recurse=False)):
            unable.append(name or label)
    if unable:
        raise UserError(
            f"backbone: {label} cannot be given random weights, as {named(unable, 3)} has no method reset_parameters; "
            "add one, or choose a strategy that keeps the weights."
        )


def copy_network(module: nn.Module) -> nn.Module:
    """Return a copy on the processor. Raises UserError where something in it cannot be copied."""
    try:
        return copy.deepcopy(module).cpu()
    except Exception as error:  # a module can hold anything
        name = type(module).__name__
        raise UserError(f"backbone: {name} cannot be copied ({error}), and each run trains a copy.") from error


def _listed(patterns: str | Sequence[str]) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns)
