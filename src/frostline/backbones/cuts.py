"""Cuts: where a backbone can be divided into a prefix and a suffix, and the two parts as modules."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from frostline.backbones.base import Backbone, evaluating
from frostline.backbones.flops import counting
from frostline.backbones.trace import FEATURES, Trace, Untraceable, modes, part, trace, trace_eval

SAMPLES = 3


@dataclass(frozen=True)
class Cut:
    """A point through which all data passes.

    ``parameters`` and ``buffers`` are the names, as in the backbone, of all that is used up to here. ``shape``
    and ``bytes`` (float32) are those of one sample's activation; ``flops`` is the cost of one sample's forward
    pass up to here. ``layout`` lists the activation's dimensions as they lie in memory, outermost first (for
    channels-last (0, 2, 3, 1)): a suffix brings a stored activation back into it, for speed and bit-equality.
    """

    name: str
    parameters: frozenset[str]
    shape: tuple[int, ...]
    bytes: int
    flops: int
    buffers: frozenset[str] = frozenset()
    layout: tuple[int, ...] = ()


_FOUND: WeakKeyDictionary[Backbone, dict[int, list[Cut]]] = WeakKeyDictionary()


def find_cuts(backbone: Backbone, size: int) -> list[Cut]:
    """Return the cuts for images of ``size`` pixels in depth order; the last one is ``features``, the output.

    A network that cannot be traced has that one only, and a note in ``backbone.notes`` says why.
    """
    known = _FOUND.setdefault(backbone, {})
    if size not in known:
        known[size] = _find(backbone, size)
    return known[size]


def prefix(backbone: Backbone, names: Sequence[str]) -> nn.Module:
    """Return a module from uint8 images [B, 3, S, S] to a tuple of the activations at these cuts, in one pass.

    It runs in eval mode and without gradients whatever the modes are, and shares the backbone's modules.
    """
    if list(names) == [FEATURES]:
        return Prefix(backbone, _Whole(backbone))
    return Prefix(backbone, part(backbone, trace_eval(backbone), None, names))


def suffix(backbone: Backbone, name: str) -> "Suffix":
    """Return a module from the activation at a cut to the features [B, num_features].

    It shares the backbone's modules and parameters (training it trains the backbone) and follows their present
    modes: set modes on the backbone, before each use; the suffix's own ``train()`` changes nothing.
    """
    found = next(iter(_FOUND.get(backbone, {}).values()), None) or find_cuts(backbone, backbone.preprocess.size)
    return Suffix(backbone, next(cut for cut in found if cut.name == name))


def check_cut(backbone: Backbone, name: str, size: int) -> bool:
    """Tell whether ``suffix(prefix(x))`` is bit-equal to ``backbone(x)`` in eval mode, for a few random images."""
    images = _images(backbone, size, SAMPLES)
    with evaluating(backbone), torch.inference_mode():
        (activation,) = prefix(backbone, [name])(images)
        if len(activation) != SAMPLES:
            return False
        return torch.equal(suffix(backbone, name)(activation.contiguous()), backbone(images))


class _Part(nn.Module):
    """A part of a backbone over the same modules: their modes are the backbone's business."""

    def train(self, mode: bool = True) -> "_Part":
        """Set this module's own flag alone, so that no frozen module is made to train by accident."""
        self.training = mode
        return self


class Prefix(_Part):
    """From images to the activations at cuts."""

    def __init__(self, backbone: Backbone, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the activations of uint8 images [B, 3, S, S], in the order the cuts were named."""
        with evaluating(self.graph):
            return self.graph(inputs)


class _Whole(nn.Module):
    """The backbone as a graph with one cut, for those that cannot be traced."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (self.backbone(inputs),)


class Suffix(_Part):
    """From the activation at a cut to the features: one graph in eval mode, one for the modes under training."""

    def __init__(self, backbone: Backbone, cut: Cut) -> None:
        super().__init__()
        self.cut = cut
        self._backbone = [backbone]  # in a list, so that it is not registered as a part of this module
        self._watched = list(backbone.modules())  # to walk the tree in every step would cost milliseconds
        if cut.name != FEATURES:
            self.eval_graph = part(backbone, trace_eval(backbone), cut.name, [FEATURES])
            self.refresh()

    def refresh(self) -> None:
        """Follow the backbone's present modes. ``forward`` does so itself, except inside torch.compile.

        There the graph refreshed last serves training, and the suffix's own flag chooses between the two.
        """
        present = tuple(module.training for module in self._watched)
        if self.cut.name != FEATURES and getattr(self, "traced_modes", None) != present:
            self.traced_modes = present
            self.train_graph = part(self._backbone[0], trace(self._backbone[0]), self.cut.name, [FEATURES])

    def forward(self, activation: Tensor) -> Tensor:
        """Return the features [B, num_features]; a copy is worked on, as a network may work in place."""
        if self.cut.name == FEATURES:
            return activation
        training = self.training
        if not torch.compiler.is_compiling():
            self.refresh()
            training = any(self.traced_modes)
        graph = self.train_graph if training else self.eval_graph
        like = {"dtype": activation.dtype, "device": activation.device}
        return graph(torch.empty_permuted(activation.shape, self.cut.layout, **like).copy_(activation))[0]


def _find(backbone: Backbone, size: int) -> list[Cut]:
    try:
        found = trace_eval(backbone)
        trainable = _trace_train(backbone)
        return _measured(backbone, found, trainable.cuts, size)
    except Untraceable as error:
        note = f"{backbone.name} cannot be traced ({error}): only its features can be cached"
        if note not in backbone.notes:
            backbone.notes.append(note)
        return [_features_cut(backbone, size)]


def _trace_train(backbone: Backbone) -> Trace:
    """Trace with every module in train mode: a cut must be one there as well."""
    modules = list(backbone.modules())
    present = modes(backbone)
    try:
        for module in modules:
            module.training = True
        return trace(backbone)
    finally:
        for module, mode in zip(modules, present, strict=True):
            module.training = mode


class _Measure(fx.Interpreter):
    """Runs a graph node by node and keeps the value and the cumulative cost at each cut."""

    def __init__(self, module: fx.GraphModule, counter: FlopCounterMode) -> None:
        super().__init__(module)
        self.counter = counter
        self.kept: dict[str, tuple[Tensor, Tensor, int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if "cut" in n.meta and isinstance(value, Tensor) and value.is_floating_point() and value.shape[:1] == (1,):
            self.kept[n.meta["cut"]] = (value, value.clone(), self.counter.get_total_flops())
        return value


def _measured(backbone: Backbone, found: Trace, allowed: Collection[str], size: int) -> list[Cut]:
    """Run one image; keep the cuts that exist in ``allowed`` too and whose value nothing later overwrites."""
    whole = part(backbone, found, None, [FEATURES])
    with evaluating(backbone), torch.inference_mode(), counting() as counter:
        measure = _Measure(whole, counter)
        measure.run(_images(backbone, size, 1))
    parameters = _cumulative(found, _owned(backbone, backbone.named_parameters(), nn.Module.parameters))
    buffers = _cumulative(found, _owned(backbone, backbone.named_buffers(), nn.Module.buffers))
    cuts: dict[int, Cut] = {}
    for name, (value, before, flops) in measure.kept.items():
        if name in allowed and torch.allclose(value, before, rtol=0, atol=0, equal_nan=True):
            node = found.cuts[name]
            cuts[id(value)] = _cut(name, value, flops, parameters[node], buffers[node])
    return list(cuts.values())


def _cut(name: str, value: Tensor, flops: int, parameters: frozenset[str], buffers: frozenset[str]) -> Cut:
    layout = tuple(sorted(range(value.ndim), key=lambda dimension: -value.stride(dimension)))
    return Cut(name, parameters, tuple(value.shape[1:]), 4 * value.numel(), flops, buffers, layout)


def _features_cut(backbone: Backbone, size: int) -> Cut:
    with evaluating(backbone), torch.inference_mode(), counting() as counter:
        features = backbone(_images(backbone, size, 1))
    parameters = frozenset(name for name, _ in backbone.named_parameters())
    buffers = frozenset(name for name, _ in backbone.named_buffers())
    return _cut(FEATURES, features, counter.get_total_flops(), parameters, buffers)


def _owned(
    backbone: Backbone, named: Iterable[tuple[str, Tensor]], held: Callable[[nn.Module], Iterable[Tensor]]
) -> Callable[[fx.Node], set[str]]:
    """Return a function from a node to the names of the tensors it uses, each under its first name."""
    names = {id(tensor): name for name, tensor in named}

    def owned(node: fx.Node) -> set[str]:
        if node.op == "call_module":
            return {names[id(tensor)] for tensor in held(backbone.get_submodule(str(node.target)))}
        if node.op == "get_attr":
            parent, _, attribute = str(node.target).rpartition(".")
            tensor = getattr(backbone.get_submodule(parent), attribute, None)
            return {names[id(tensor)]} & set(names.values()) if id(tensor) in names else set()
        return set()

    return owned


def _cumulative(found: Trace, owned: Callable[[fx.Node], set[str]]) -> dict[fx.Node, frozenset[str]]:
    """Return for each cut what is used up to it, counted from where it is first needed."""
    order = sorted(found.graph.nodes, key=found.need.__getitem__)
    cuts = set(found.cuts.values())
    used: set[str] = set()
    result: dict[fx.Node, frozenset[str]] = {}
    for node in order:
        used |= owned(node)
        if node in cuts:
            result[node] = frozenset(used)
    return result


def _images(backbone: Backbone, size: int, count: int) -> Tensor:
    """Return the same random images each time, without touching the global random state."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    return images.to(backbone.scale.device)
