"""A user's module with what must be known of it, and what is done to a copy of it before it trains."""

import copy
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from frostline.backbones.groups import Patterns, list_patterns, matches
from frostline.backbones.own.code import digest_code
from frostline.backbones.weights.loading import fingerprint
from frostline.errors import UserError
from frostline.files.atomic import sha256_json
from frostline.units import join_lines

KEY = "backbone.groups"
GroupPatterns = Mapping[str, Patterns]


@dataclass(frozen=True)
class OwnNetwork:
    """A copy of a user's module with what Frostline must be told of it. Neither is changed by a run: it trains a copy.

    ``shape`` and ``dtype`` (float32 where it is None) are those of one sample, which comes as the data has it.
    ``classifier`` names a last layer that an identity takes the place of, so that a whole classifier can be given.
    ``groups`` maps names, in the order of depth, to modules or parameters (globs, such as ``layer1.*``); None: by the
    network's children. ``content`` is a text that stands for all that the network computes, where its code cannot be
    read. Raises UserError for a module that cannot be copied.
    """

    module: nn.Module
    shape: Sequence[int] | None = None
    dtype: str | None = None
    groups: GroupPatterns | None = None
    classifier: str | None = None
    name: str | None = None
    content: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "module", copy_network(self.module))

    @property
    def label(self) -> str:
        """What the network is called."""
        return self.name or type(self.module).__name__

    @cached_property
    def identity(self) -> str:
        """Text that stands for the network's weights and code.

        Where something could not be read it is another text for each copy, so that nothing of earlier runs is reused.
        """
        if self.content is not None:
            return self.content
        if self._code[1]:
            return uuid.uuid4().hex
        tensors = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return sha256_json([fingerprint(tensors), self._code[0]])

    def notes(self, content: str | None) -> list[str]:
        """Return what is to be said of the code that could not be read, unless another ``content`` stands for it."""
        if self.content is not None or content not in (None, self.identity) or not self._code[1]:
            return []
        return [
            f"nothing is reused of earlier runs of {self.label}: what it computes depends on what cannot be read "
            f"({join_lines(self._code[1], 3)}); give content= a text that changes whenever that does"
        ]

    @cached_property
    def _code(self) -> tuple[str, list[str]]:
        return digest_code(self.module)

    def make_network(self, classifier: str | None, pretrained: bool) -> nn.Module:
        """Return a network to train, without its classifier; not ``pretrained``, it has random weights."""
        network = copy_network(self.module).float().requires_grad_(True).train()
        if classifier is not None:
            remove_layer(network, classifier)
        if not any(True for _ in network.parameters()):
            raise UserError(f"backbone: {self.label} has no parameters; there is nothing to freeze or train.")
        if not pretrained:
            randomise(network, self.label)
        return network

    def node(self, shape: Sequence[int] | None, dtype: str | None) -> dict[str, Any]:
        """Return the node of a config that stands for this network, for samples like these where it has no shape."""
        groups = None if self.groups is None else list_group_patterns(self.groups)
        return {
            "name": self.label,
            "content": self.identity,
            "shape": list(self.shape or shape or []) or None,
            "dtype": self.dtype if self.shape else dtype,
            "groups": groups,
            "classifier": self.classifier,
        }


def list_group_patterns(groups: GroupPatterns) -> dict[str, list[str]]:
    """Return each group's patterns as a list. Raises UserError for anything but text."""
    return {name: list_patterns(members, f"{KEY}.{name}") for name, members in groups.items()}


def match_groups(network: nn.Module, groups: GroupPatterns) -> dict[str, list[str]]:
    """Return the names of each group's parameters.

    A pattern names parameters, or modules with all that is in them, and may be a glob. Raises UserError for one that
    matches nothing, and unless each parameter is in exactly one group.
    """
    names = [name for name, _ in network.named_parameters()]
    owner: dict[str, str] = {}
    for group, patterns in list_group_patterns(groups).items():
        for pattern in patterns:
            found = [name for name in names if matches(pattern, name)]
            if not found:
                children = ", ".join(name for name, _ in network.named_children())
                raise UserError(f"{KEY}.{group}: {pattern!r} matches no parameter; modules are: {children}.")
            for name in found:
                if owner.setdefault(name, group) != group:
                    raise UserError(f"{KEY}.{group}: {name} is in {owner[name]} already; a parameter is in one group.")
    left = [name for name in names if name not in owner]
    if left:
        raise UserError(f"{KEY}: {len(left)} parameters are in no group: {join_lines(left, 5)}; name them in one.")
    return {group: [name for name in names if owner[name] == group] for group in groups}


def remove_layer(network: nn.Module, name: str) -> None:
    """Put an identity in place of a layer. Raises UserError where there is none of that name."""
    modules = dict(network.named_modules())
    if not name or name not in modules:
        layers = [path for path, module in modules.items() if path and not any(True for _ in module.children())]
        raise UserError(f"backbone.classifier: there is no {name!r}; the last layers are: {', '.join(layers[-5:])}.")
    network.set_submodule(name, nn.Identity())


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
            f"backbone: {label} cannot have random weights: {join_lines(unable, 3)} has no method reset_parameters; "
            "add one, or choose a strategy that keeps the weights."
        )


def copy_network(module: nn.Module) -> nn.Module:
    """Return a copy on the processor. Raises UserError where something in it cannot be copied."""
    try:
        return copy.deepcopy(module).cpu()
    except Exception as error:  # a module can hold anything
        name = type(module).__name__
        raise UserError(f"backbone: {name} cannot be copied ({error}), and each run trains a copy.") from error
