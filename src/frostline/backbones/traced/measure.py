"""The cuts of a traced backbone with what each costs, found by running one sample through its graph."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from frostline.backbones.base import FEATURES, Backbone, Cut, evaluating, find_places, make_dense_cut
from frostline.backbones.flops import count_flops
from frostline.backbones.traced.trace import Trace, list_modes, make_part, trace, trace_eval


def measure_cuts(backbone: Backbone, size: int) -> list[Cut]:
    """Return the cuts for samples of ``size`` in depth order. Raises Untraceable.

    A cut is one in eval mode and in train mode, and nothing later overwrites its value.
    """
    found, allowed = trace_eval(backbone), _trace_train(backbone).cuts
    whole = make_part(backbone, found, None, [FEATURES])
    with evaluating(backbone), torch.inference_mode(), count_flops() as counter:
        measure = _Measure(whole, counter)
        measure.run(backbone.example(1, size))
    with evaluating(backbone), torch.inference_mode():
        finder = _PlaceFinder(whole)
        finder.run(backbone.example(1, size))
    return list(_keep_unspoilt(backbone, found, allowed, measure, finder.places).values())


def _keep_unspoilt(
    backbone: Backbone,
    found: Trace,
    allowed: Collection[str],
    measure: "_Measure",
    places: Mapping[str, tuple[int, ...]],
) -> dict[int, Cut]:
    parameters = _accumulate(found, _name_owned(backbone, backbone.named_parameters(), nn.Module.parameters))
    buffers = _accumulate(found, _name_owned(backbone, backbone.named_buffers(), nn.Module.buffers))
    cuts: dict[int, Cut] = {}
    for name, (value, before, flops) in measure.kept.items():
        if name in allowed and torch.allclose(value, before, rtol=0, atol=0, equal_nan=True):
            node = found.cuts[name]
            cuts[id(value)] = make_dense_cut(name, value, flops, parameters[node], buffers[node], places[name])
    return cuts


def _trace_train(backbone: Backbone) -> Trace:
    """Trace with every module in train mode: a cut must be one there as well."""
    modules = list(backbone.modules())
    present = list_modes(backbone)
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


class _PlaceFinder(fx.Interpreter):
    """Runs a graph node by node and finds out, at each cut, which dimensions are places.

    Images, and what a convolution makes, are [B, C, H, W]. Here they lie in memory with the channels innermost, as
    after a linear layer. Whatever follows, a permutation or a flattening, leaves them there: so they are found again.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.places: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_method" and "memory_format" in n.kwargs:  # a copy into another layout, which is left out
            value = self.fetch_args_kwargs_from_env(n)[0][0]
        else:
            value = super().run_node(n)
        convolved = n.op == "call_module" and isinstance(self.fetch_attr(str(n.target)), nn.Conv2d)
        if convolved or (n.op == "placeholder" and isinstance(value, Tensor) and value.ndim == 4):
            value = value.contiguous(memory_format=torch.channels_last)
        if "cut" in n.meta and isinstance(value, Tensor):
            self.places[n.meta["cut"]] = find_places(value)
        return value


def _name_owned(
    backbone: Backbone, named: Iterable[tuple[str, Tensor]], held: Callable[[nn.Module], Iterable[Tensor]]
) -> Callable[[fx.Node], set[str]]:
    """Return a function from a node to the names of the tensors it uses, each under its first name."""
    names = {id(tensor): name for name, tensor in named}

    def find_names(node: fx.Node) -> set[str]:
        if node.op == "call_module":
            return {names[id(tensor)] for tensor in held(backbone.get_submodule(str(node.target)))}
        if node.op == "get_attr":
            parent, _, attribute = str(node.target).rpartition(".")
            tensor = getattr(backbone.get_submodule(parent), attribute, None)
            return {names[id(tensor)]} & set(names.values()) if id(tensor) in names else set()
        return set()

    return find_names


def _accumulate(found: Trace, find_names: Callable[[fx.Node], set[str]]) -> dict[fx.Node, frozenset[str]]:
    """Return for each cut what is used up to it, counted from where it is first needed."""
    order = sorted(found.graph.nodes, key=found.need.__getitem__)
    cuts = set(found.cuts.values())
    used: set[str] = set()
    result: dict[fx.Node, frozenset[str]] = {}
    for node in order:
        used |= find_names(node)
        if node in cuts:
            result[node] = frozenset(used)
    return result
