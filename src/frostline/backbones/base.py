"""A backbone: a network without its classifier that knows its groups, which of them are frozen, and where to cut it."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from frostline.backbones.weights.loading import fingerprint
from frostline.data.inputs import Inputs, Preprocess

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
ADAPTER = "adapter"
FEATURES = "features"


class Untraceable(Exception):
    """The network's code takes ways that depend on the data; the message says what was met."""


@dataclass(frozen=True)
class Cut:
    """A point through which all data passes.

    ``parameters`` and ``buffers`` are the names, as in the backbone, of all that is used up to here. ``shape`` is that
    of one sample's activation (of one of its frames, where samples are sequences), ``bytes`` its size in float32 at a
    typical length; ``flops`` is the cost of one such sample's forward pass up to here. ``layout`` lists the
    activation's dimensions as they lie in memory, outermost first (for channels-last (0, 2, 3, 1)): a suffix brings a
    stored activation back into it, for speed and bit-equality. ``places`` are the dimensions that are places of a map,
    or tokens: (2, 3) of [B, C, H, W], (1, 2) of [B, H, W, C], (1,) of [B, tokens, C]; none of vectors, nor of
    sequences, which say by themselves what of them is real.
    """

    name: str
    parameters: frozenset[str]
    shape: tuple[int, ...]
    bytes: int
    flops: int
    buffers: frozenset[str] = frozenset()
    layout: tuple[int, ...] = ()
    places: tuple[int, ...] = ()


def make_dense_cut(
    name: str,
    value: Tensor,
    flops: int,
    parameters: frozenset[str],
    buffers: frozenset[str],
    places: tuple[int, ...] = (),
) -> Cut:
    """Return the cut at which one sample's activation is ``value`` [1, ...]."""
    layout = tuple(sorted(range(value.ndim), key=lambda dimension: -value.stride(dimension)))
    return Cut(name, parameters, tuple(value.shape[1:]), 4 * value.numel(), flops, buffers, layout, places)


def find_places(value: Tensor) -> tuple[int, ...]:
    """Return the dimensions of [B, ...] that are neither the samples' nor the innermost one in memory, the channels'.

    A dimension of size 1 has no place in memory, and is not taken for the channels' where another one is larger.
    """
    own = range(1, value.ndim)
    channels = min(own, key=lambda dimension: (value.shape[dimension] == 1, value.stride(dimension)), default=None)
    return tuple(dimension for dimension in own if dimension != channels)


class Backbone(nn.Module):
    """A pretrained network from inputs to float features [B, num_features], or (for CTC) ``Ragged`` ones.

    ``groups`` gives every parameter, by its name in ``named_parameters()``, to exactly one depth-ordered group;
    ``preprocess`` says how it wants its samples. ``notes`` holds what a user should be told, ``architecture``
    identifies the code path beyond the weights, for a cache's key.
    """

    num_features: int
    preprocess: Preprocess

    def __init__(
        self,
        network: nn.Module,
        name: str,
        groups: dict[str, list[str]],
        preprocess: Preprocess,
        *,
        architecture: str | None = None,
        live_statistics: bool = True,
        compile: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        """Take ``groups`` in the network's own parameter names; ``live_statistics`` trains BatchNorm by batches."""
        super().__init__()
        self.network = network
        self.adapter: nn.Module | None = None
        self.name = name
        self.architecture = architecture or name
        self.groups = {group: [f"network.{member}" for member in members] for group, members in groups.items()}
        self.preprocess = preprocess
        self.live_statistics = live_statistics
        self.compiled = compile
        self.notes = list(notes)
        self._added: dict[str, set[str]] = {}
        self._check_groups()
        self._members = list(self._module_groups())

    @abstractmethod
    def make_part(self, start: str | None, ends: Sequence[str]) -> nn.Module:
        """Return a module from the value at the cut ``start`` (None: the inputs) to a tuple of those at ``ends``.

        It runs over the backbone's own modules, as their modes are at this moment. Raises Untraceable.
        """

    @abstractmethod
    def measure(self, size: int) -> list[Cut]:
        """Return the cuts for samples of ``size``, in depth order; the last one is ``features``. Raises Untraceable."""

    @abstractmethod
    def count_features(self) -> int:
        """Return how many features one sample has, by running one. Raises UserError where that fails."""

    def attach(self, adapter: nn.Module) -> None:
        """Let data of another modality enter through ``adapter``: a group of its own, before all others.

        It has ``preprocess``, what it wants of the data, and ``architecture``, text that stands for its settings.
        """
        self.adapter = adapter
        self.groups = {ADAPTER: [f"{ADAPTER}.{name}" for name, _ in adapter.named_parameters()], **self.groups}
        self.preprocess = adapter.preprocess  # type: ignore[assignment]
        self.architecture += f" after {adapter.architecture}"
        self._check_groups()
        self._members = list(self._module_groups())
        self.num_features = self.count_features()

    @property
    def device(self) -> torch.device:
        """Return where the backbone is."""
        return next(chain(self.parameters(), self.buffers())).device

    def example(self, count: int, size: int) -> Inputs:
        """Return the same random inputs each time, on the backbone's device."""
        return self.preprocess.example(count, size).to(self.device)

    def kinds(self) -> dict[str, set[str]]:
        """Return the names of the parameters of each kind that a plan can train.

        ``all`` are all, ``norm`` those that normalisation modules own, ``bias`` those whose name ends in ``bias``,
        whatever owns them; a change of the plan may have added others.
        """
        return {**find_kinds(self), **self._added}

    def add_parameters(self, kind: str, members: Mapping[str, Sequence[str]]) -> None:
        """Let parameters that a change has put into the network belong to the groups that they stand in.

        ``members`` maps groups to the parameters' names, which are of ``kind`` from now on.
        """
        self.groups = {group: [*names, *members.get(group, ())] for group, names in self.groups.items()}
        added = {name for names in members.values() for name in names}
        self._added[kind] = self._added.get(kind, set()) | added
        self._check_groups()
        self._members = list(self._module_groups())

    def add_note(self, note: str) -> None:
        """Add what a user should be told, once."""
        if note not in self.notes:
            self.notes.append(note)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all weights and persistent buffers."""
        return fingerprint(self.state_dict())

    def synchronise(self) -> None:
        """Let a BatchNorm that trains normalise over the samples of all ranks; it needs CUDA devices to do so.

        By timm's conversion: torch's, which Lightning uses, loses the activation of timm's BatchNormAct2d. Done before
        the network is traced: what is replaced later would not be frozen.
        """
        from timm.layers.norm_act import convert_sync_batchnorm  # a second or more, which texts and sounds do without

        self.network = convert_sync_batchnorm(self.network)
        self._members = list(self._module_groups())

    def freeze_modes(self, frozen: set[str]) -> None:
        """Put the modules of the frozen groups into eval mode; every other module keeps its mode.

        Call it after each ``train()``. A container of frozen and trainable groups, the root first of all, goes
        into eval mode as well: its own functional dropout could otherwise touch the frozen part. Without
        ``live_statistics`` every BatchNorm normalises by its running statistics, and they stay as they are.
        """
        unknown = frozen - set(self.groups)
        assert not unknown, f"not groups of {self.name}: {sorted(unknown)}"
        for module, groups in self._members:
            if groups & frozen or (isinstance(module, _NormBase) and not self.live_statistics):
                module.training = False

    def _module_groups(self) -> Iterator[tuple[nn.Module, set[str]]]:
        """Yield each module with the groups it holds; one without parameters belongs to the group before it."""
        parameters = dict(self.named_parameters())  # one that several modules share has one name here
        owner = {id(parameters[name]): group for group, members in self.groups.items() for name in members}
        last = next(group for group in self.groups if group != ADAPTER)
        for prefix, module in self.named_modules():
            own = [owner[id(parameter)] for parameter in module.parameters(recurse=False)]
            held = {owner[id(parameter)] for parameter in module.parameters()}
            last = ADAPTER if prefix.partition(".")[0] == ADAPTER else own[-1] if own else last
            yield module, held or {last}

    def _check_groups(self) -> None:
        names = [name for name, _ in self.named_parameters()]
        grouped = [name for members in self.groups.values() for name in members]
        assert sorted(names) == sorted(grouped), f"{self.name}: groups do not hold each parameter once"


def find_kinds(module: nn.Module) -> dict[str, set[str]]:
    """Return the names of the parameters of each kind that a plan can train: ``all``, ``norm`` and ``bias``."""
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    norms = {
        name
        for path, part in module.named_modules()
        if isinstance(part, NORMS) or "norm" in type(part).__name__.lower()
        for name, _ in part.named_parameters(path, recurse=False)
    }
    return {"all": names, "norm": norms, "bias": {name for name in names if name.endswith("bias")}}


class evaluating:  # noqa: N801 (a context manager, used like a function)
    """Put every module under ``root`` into eval mode for a while, then give each one its own mode back."""

    def __init__(self, root: nn.Module) -> None:
        self.modules = list(root.modules())

    def __enter__(self) -> None:
        self.modes = [module.training for module in self.modules]
        for module in self.modules:
            module.training = False

    def __exit__(self, *exception: object) -> None:
        for module, mode in zip(self.modules, self.modes, strict=True):
            module.training = mode
