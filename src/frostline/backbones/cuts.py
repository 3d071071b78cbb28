"""Cuts: where a backbone can be divided into a prefix and a suffix, and the two parts as modules."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from frostline.backbones.base import FEATURES, Backbone, Cut, Untraceable, evaluating, make_dense_cut
from frostline.backbones.called import CalledModules
from frostline.backbones.flops import count_flops
from frostline.data.inputs import Inputs, Ragged, count, equals, map_tensors, map_values

SAMPLES = 3
_FOUND: WeakKeyDictionary[Backbone, dict[int, list[Cut]]] = WeakKeyDictionary()


def find_cuts(backbone: Backbone, size: int) -> list[Cut]:
    """Return the cuts for samples of ``size`` in depth order; the last one is ``features``, the output.

    A network that cannot be divided has that one only, and a note in ``backbone.notes`` says why.
    """
    known = _FOUND.setdefault(backbone, {})
    if size not in known:
        known[size] = _find(backbone, size)
    return known[size]


def _find(backbone: Backbone, size: int) -> list[Cut]:
    try:
        return backbone.measure(size)
    except Untraceable as error:
        backbone.add_note(f"{backbone.name} cannot be traced ({error}): only its features can be cached")
    with evaluating(backbone), torch.inference_mode(), count_flops() as counter:
        features = backbone(backbone.example(1, size))
    parameters = frozenset(name for name, _ in backbone.named_parameters())
    buffers = frozenset(name for name, _ in backbone.named_buffers())
    return [make_dense_cut(FEATURES, features, counter.get_total_flops(), parameters, buffers)]


def make_prefix(backbone: Backbone, names: Sequence[str], start: str | None = None) -> nn.Module:
    """Return a module from inputs to a tuple of the activations at these cuts, in one pass.

    It takes activations at the cut ``start`` in place of inputs, where there is one. It runs in eval mode and without
    gradients whatever the modes are, and shares the backbone's modules.
    """
    if start is None and list(names) == [FEATURES]:  # which needs no tracing
        return Prefix(CalledModules(backbone, names))
    with evaluating(backbone):
        return Prefix(_make_part(backbone, start, names))


def make_suffix(backbone: Backbone, name: str) -> "Suffix":
    """Return a module from the activation at a cut to the features [B, num_features].

    It shares the backbone's modules and parameters (training it trains the backbone) and follows their present
    modes: set modes on the backbone, before each use; the suffix's own ``train()`` changes nothing.
    """
    found = next(iter(_FOUND.get(backbone, {}).values()), None) or find_cuts(backbone, backbone.preprocess.size)
    return Suffix(backbone, next(cut for cut in found if cut.name == name))


def check_cut(backbone: Backbone, name: str, size: int) -> bool:
    """Return whether a suffix of its prefix is bit-equal to ``backbone(x)`` in eval mode, for a few random samples."""
    inputs = backbone.example(SAMPLES, size)
    with evaluating(backbone), torch.inference_mode():
        (activation,) = make_prefix(backbone, [name])(inputs)
        if count(activation) != SAMPLES:
            return False
        try:
            found = make_suffix(backbone, name)(map_tensors(Tensor.contiguous, activation))  # as it lies in a store
        except Exception:  # a network that looks at more than the activation can do anything with what it is given
            return False
        return equals(found, backbone(inputs))


def pool_activation(activation: Inputs, cut: Cut) -> Tensor:
    """Return the activations of a batch at a cut as vectors [B, D]: the mean over the places of a map, the tokens of a
    picture, or the real positions of a sequence.
    """
    if isinstance(activation, Ragged):
        return activation.mean()
    return activation.mean(dim=cut.places) if cut.places else activation.flatten(1)


class Part(nn.Module):
    """A part of a backbone over the same modules: their modes are the backbone's business."""

    def train(self, mode: bool = True) -> "Part":
        """Set this module's own flag alone, so that no frozen module is made to train by accident."""
        self.training = mode
        return self


class Prefix(Part):
    """From inputs to the activations at cuts."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    @torch.no_grad()
    def forward(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """Return the activations of a batch, in the order the cuts were named."""
        with evaluating(self.graph):
            return self.graph(inputs)


def _make_part(backbone: Backbone, start: str | None, ends: Sequence[str]) -> nn.Module:
    """Return the part of a backbone from one cut to others; of one that cannot be traced what its modules give."""
    try:
        return backbone.make_part(start, ends)
    except Untraceable:
        if start is not None:
            raise
        return CalledModules(backbone, ends)


class Suffix(Part):
    """From the activation at a cut (None: the inputs) to those at ``ends``, by default to the features.

    One part serves eval mode, one the modes under training.
    """

    def __init__(self, backbone: Backbone, cut: Cut | None, ends: Sequence[str] = (FEATURES,)) -> None:
        super().__init__()
        self.cut, self.ends = cut, list(ends)
        self._start = None if cut is None else cut.name
        self._backbone = [backbone]  # in a list, so that it is not registered as a part of this module
        self._watched = list(backbone.modules())  # to walk the tree in every step would cost milliseconds
        if not self._is_empty:
            with evaluating(backbone):
                self.eval_graph = self._trace()
            self.refresh()

    @property
    def _is_empty(self) -> bool:
        return self.ends == [self._start]

    def _trace(self) -> nn.Module:
        return _make_part(self._backbone[0], self._start, self.ends)

    def refresh(self) -> None:
        """Follow the backbone's present modes. ``run`` does so itself, except inside torch.compile.

        There the graph refreshed last serves training, and the suffix's own flag chooses between the two.
        """
        present = tuple(module.training for module in self._watched)
        if not self._is_empty and getattr(self, "traced_modes", None) != present:
            self.traced_modes = present
            self.train_graph = self._trace()

    def forward(self, activation: Inputs) -> Inputs:
        """Return the features [B, num_features]."""
        return self.run(activation)[0]

    def run(self, activation: Inputs) -> tuple[Inputs, ...]:
        """Return the values at ``ends``; a copy is worked on, as a network may work in place."""
        if self._is_empty:
            return (activation,)
        training = self.training
        if not torch.compiler.is_compiling():
            self.refresh()
            training = any(self.traced_modes)
        graph = self.train_graph if training else self.eval_graph
        return graph(activation if self.cut is None else map_values(self._copy, activation))

    def _copy(self, values: Tensor) -> Tensor:
        assert self.cut is not None
        layout = self.cut.layout or tuple(range(values.ndim))
        return torch.empty_permuted(values.shape, layout, dtype=values.dtype, device=values.device).copy_(values)
