"""A network of the user's own as a backbone: any module that gives one vector a sample."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from frostline.backbones.base import Backbone, Cut, evaluating
from frostline.backbones.groups import find_generic_groups
from frostline.backbones.own.network import GroupPatterns, OwnNetwork, match_groups
from frostline.backbones.traced.building import resolve_batch_norm
from frostline.backbones.traced.measure import measure_cuts
from frostline.backbones.traced.trace import make_part, trace
from frostline.data.own.given import AsGiven
from frostline.errors import UserError, read_first_line


class OwnBackbone(Backbone):
    """A user's network from inputs [B, *shape], as the data has them, to float features [B, num_features]."""

    def __init__(
        self, network: nn.Module, name: str, groups: dict[str, list[str]], preprocess: AsGiven, **options: Any
    ):
        """Give samples to the network to learn its features. Raises UserError where it does not take them."""
        super().__init__(network, name, groups, preprocess, **options)
        with self._watching() as order:
            self.num_features = self.count_features()
        defined = [group for group in self.groups if group in order]
        if defined != list(order):
            self.notes.append(
                f"the groups of {name} stand in the order {', '.join(defined)}, but it runs them as "
                f"{', '.join(order)}; name them in that order with groups="
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features [B, num_features] of inputs [B, *shape]."""
        return self.network(inputs)

    def attach(self, adapter: nn.Module) -> None:
        raise UserError(f"adapter: {self.name} is a network of your own, which takes its data as they are; use none.")

    def make_part(self, start: str | None, ends: Sequence[str]) -> nn.Module:
        return make_part(self, trace(self), start, ends)

    def measure(self, size: int) -> list[Cut]:
        return measure_cuts(self, size)

    def count_features(self) -> int:
        try:
            with evaluating(self), torch.inference_mode():
                features = self(self.example(2, self.preprocess.size))
        except Exception as error:  # a network of the user's own can raise anything
            raise UserError(
                f"backbone.shape: {self.name} cannot take samples of {self.preprocess} ({read_first_line(error)}); "
                "expected the shape and dtype of one sample that it takes."
            ) from error
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
            found = list(features.shape[1:]) if isinstance(features, Tensor) else type(features).__name__
            raise UserError(
                f"backbone: {self.name} gives {found} for a sample, not a vector; pool it in the network's forward, or "
                "name the layer whose inputs are the features with classifier=NAME."
            )
        if not features.is_floating_point():
            raise UserError(f"backbone: {self.name} gives {features.dtype}; features are floating-point numbers.")
        return features.shape[1]

    @contextmanager
    def _watching(self) -> Iterator[dict[str, None]]:
        """Yield the groups in the order in which a module with parameters of theirs is first run inside."""
        parameters = dict(self.named_parameters())
        owner = {id(parameters[name]): group for group, members in self.groups.items() for name in members}
        order: dict[str, None] = {}
        hooks = []
        for module in self.modules():
            own = [owner[id(parameter)] for parameter in module.parameters(recurse=False)]
            if own:
                hooks.append(module.register_forward_pre_hook(lambda *_, group=own[0]: order.setdefault(group)))
        try:
            yield order
        finally:
            for hook in hooks:
                hook.remove()


def as_backbone(
    found: Backbone | OwnNetwork | nn.Module | None = None,
    *,
    shape: Sequence[int] | None,
    dtype: str | None,
    groups: GroupPatterns | None,
    classifier: str | None,
    name: str | None,
    content: str | None,
    batch_norm: str,
    compile: bool,
    pretrained: bool = True,
) -> Backbone:
    """Return a backbone around a copy of any module; a Backbone is returned as it is.

    The first keys are what an OwnNetwork does not say by its own fields. ``batch_norm`` is as for other backbones.
    Without ``pretrained`` every module is told to ``reset_parameters``. Weights in 16 or 64 bits become float32.
    Raises UserError for what does not fit the network.
    """
    if isinstance(found, Backbone):
        return found
    if found is None:
        raise UserError(
            f"backbone: {name or 'this network'} was given to a run from Python, and no file holds it; make the same "
            "call again there, or use --allow MODULE and backbone._target_=MODULE.FUNCTION on the command line."
        )
    own = found if isinstance(found, OwnNetwork) else OwnNetwork(found, name=name)
    shape, dtype = own.shape or shape, own.dtype or dtype or "float32"
    groups, classifier = own.groups or groups, own.classifier or classifier
    if shape is None:
        raise UserError(f"backbone.shape: nothing says what samples {own.label} takes; give it, such as [3, 32, 32].")
    network = own.make_network(classifier, pretrained)
    return OwnBackbone(
        network,
        own.label,
        find_generic_groups(network) if groups is None else match_groups(network, groups),
        AsGiven(tuple(shape), dtype),
        architecture=f"own {own.label} {content or own.identity} without {classifier}",
        live_statistics=resolve_batch_norm(batch_norm, random=not pretrained),
        compile=compile,
        notes=own.notes(content),
    )
