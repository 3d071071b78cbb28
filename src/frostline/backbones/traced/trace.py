"""A backbone as a torch.fx graph, and the points in it through which all data passes."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import torch
import torchvision
from timm.layers._fx import get_notrace_functions, get_notrace_modules
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import NodePathTracer

from frostline.backbones.base import ADAPTER, FEATURES, NORMS, Backbone, Untraceable, evaluating

OPS = tuple(op for op in vars(torchvision.ops).values() if isinstance(op, type) and issubclass(op, nn.Module))
Modes = tuple[bool, ...]


@dataclass(frozen=True)
class Trace:
    """The graph of a backbone under one setting of its modules' modes.

    ``need`` is the place in the order from which on a node's value is needed: its own place where it depends on
    the images, else (parameters, and what is computed from them alone) that of its first use. ``cuts`` are the
    nodes after which no earlier value that depends on the images is still needed, by their names.
    """

    graph: fx.Graph
    constants: dict[str, Tensor]
    place: dict[fx.Node, int]
    need: dict[fx.Node, int]
    cuts: dict[str, fx.Node] = field(default_factory=dict)

    def depends(self, node: fx.Node) -> bool:
        """Tell a value that depends on the images from one that parameters alone determine."""
        return self.need[node] == self.place[node]


class _Tracer(NodePathTracer):
    """torchvision's tracer with timm's leaves, and with normalisation as leaves: they keep their live statistics."""

    def __init__(self) -> None:
        leaves = [*get_notrace_modules(), *OPS, *NORMS]
        functions = tuple(get_notrace_functions())
        super().__init__(autowrap_modules=(math, torchvision.ops), autowrap_functions=functions, leaf_modules=leaves)
        self.seen: Counter[str] = Counter()

    def is_leaf_module(self, m: nn.Module, module_qualname: str) -> bool:
        """Leave an adapter whole: what it takes need not be a tensor."""
        return module_qualname == ADAPTER or super().is_leaf_module(m, module_qualname)

    def _get_node_qualname(self, module_qualname: str, node: fx.Node) -> str:
        """Name a node by where it stands and how often that was met: the same in train and in eval mode."""
        name = module_qualname
        if node.op != "call_module":
            target = node.target if isinstance(node.target, str) else node.target.__name__
            name = f"{module_qualname}.{target.strip('_')}".lstrip(".")
        self.seen[name] += 1
        return name if self.seen[name] == 1 else f"{name}_{self.seen[name] - 1}"


_TRACES: WeakKeyDictionary[Backbone, dict[Modes, Trace | Untraceable]] = WeakKeyDictionary()


def modes(module: nn.Module) -> Modes:
    """Return the mode of every module in it: code can look at any of them."""
    return tuple(part.training for part in module.modules())


def trace(backbone: Backbone) -> Trace:
    """Return the backbone's graph under its modules' present modes; made once for each setting of them.

    ``self.training`` is baked into functional dropout, so a graph is right under its own modes only.
    Raises Untraceable.
    """
    known = _TRACES.setdefault(backbone, {})
    present = modes(backbone)
    if present not in known:
        known[present] = _make_trace(backbone)
    found = known[present]
    if isinstance(found, Untraceable):
        raise found
    return found


def trace_eval(backbone: Backbone) -> Trace:
    """Return the backbone's graph in eval mode, whatever its present modes. Raises Untraceable."""
    with evaluating(backbone):
        return trace(backbone)


def _make_trace(backbone: Backbone) -> Trace | Untraceable:
    tracer = _Tracer()
    try:
        graph = tracer.trace(backbone)
    except Exception as error:  # proxies meet arbitrary code, which can raise anything
        return Untraceable(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    finally:
        constants = {name: backbone.__dict__.pop(name) for name in list(vars(backbone)) if "_constant" in name}
    names = {node: name for node, name in tracer.node_to_qualname.items() if node.op != "placeholder"}
    place = {node: number for number, node in enumerate(graph.nodes)}
    found = Trace(graph, constants, place, _needs(graph, place))
    found = replace(found, cuts=_cuts(found, names))
    for name, node in found.cuts.items():
        node.meta["cut"] = name
    return found


def _needs(graph: fx.Graph, place: dict[fx.Node, int]) -> dict[fx.Node, int]:
    dependent: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op in ("placeholder", "output") or dependent.intersection(node.all_input_nodes):
            dependent.add(node)
    need: dict[fx.Node, int] = {}
    for node in reversed(graph.nodes):
        later = [need[user] for user in node.users]
        need[node] = place[node] if node in dependent else min(later, default=len(place))
    return need


def _cuts(found: Trace, names: dict[fx.Node, str]) -> dict[str, fx.Node]:
    """Walk the nodes in order and keep each one after which no earlier value is needed any more."""
    output = next(iter(reversed(found.graph.nodes)))
    cuts: dict[str, fx.Node] = {}
    alive_until = 0
    for node in found.graph.nodes:
        if not found.depends(node):
            continue
        number = found.place[node]
        if alive_until <= number and node in names:
            cuts[FEATURES if node is output.args[0] else names[node]] = node
        alive_until = max([alive_until, *(found.place[user] for user in node.users)])
    if FEATURES not in cuts and isinstance(output.args[0], fx.Node):
        cuts[FEATURES] = output.args[0]
    return cuts


def part(backbone: Backbone, found: Trace, start: str | None, ends: Iterable[str]) -> fx.GraphModule:
    """Return the graph from the cut ``start`` (None: the images) to the cuts ``ends`` over the backbone's own modules.

    Called with the value at ``start`` it returns a tuple of the values at ``ends``.
    """
    goals = [found.cuts[name] for name in ends]
    last = max(found.place[goal] for goal in goals)
    first = next(node for node in found.graph.nodes if node.op == "placeholder") if start is None else found.cuts[start]
    graph = fx.Graph()
    copies = {first: graph.placeholder("inputs")}
    wanted = _between(found, found.place[first], last)
    for node in found.graph.nodes:
        if node in wanted:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[goal] for goal in goals))
    targets = {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    return fx.GraphModule({target: _resolve(backbone, found, target) for target in targets}, graph)


def _between(found: Trace, first: int, last: int) -> set[fx.Node]:
    """Return the nodes to run after place ``first`` up to ``last``, with all they take from parameters alone."""
    wanted: set[fx.Node] = set()
    for node in reversed(found.graph.nodes):
        if found.depends(node):
            keep = first < found.place[node] <= last and node.op != "placeholder"
        else:
            keep = bool(wanted.intersection(node.users))
        if keep:
            wanted.add(node)
    return wanted


def _resolve(backbone: Backbone, found: Trace, target: str) -> nn.Module | Tensor:
    if target in found.constants:
        return found.constants[target].to(backbone.device)
    parent, _, name = target.rpartition(".")
    value = getattr(backbone.get_submodule(parent), name)
    assert isinstance(value, nn.Module | torch.Tensor), target
    return value
