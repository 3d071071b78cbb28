"""Run a frozen prefix over the data once, keep its activations, and serve them as a data source."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, prefix
from frostline.backbones.weights import fingerprint
from frostline.data.base import DataModule
from frostline.features.cache import Entry, Store, Writer
from frostline.features.choose import size
from frostline.features.key import Key

log = logging.getLogger(__name__)
BATCH = 32  # half the memory of 64 for a few percent of the speed
ATTEMPTS = 3
"""An entry may be damaged, or dropped by another process just when it is to be read."""


class Features:
    """Activations of one split at one cut; a data source like the split itself.

    ``seconds_per_sample`` is what computing one of them took, by which the savings are counted.
    """

    def __init__(self, views: Mapping[int, Tensor], seconds_per_sample: float):
        self.views = dict(views)
        self.seconds_per_sample = seconds_per_sample

    def inputs(self, indices: Tensor, view: int) -> Tensor:
        """Return the activations [B, ...] of these samples in this view."""
        return self.views[view].index_select(0, indices)


@dataclass
class PrefixCache:
    """Get or build the activations of a backbone's frozen prefixes.

    ``store`` None keeps them in memory only. ``precision`` and ``autocast`` are those of the run's training;
    ``memory_bytes`` bounds what a phase reads into memory, the rest is mapped from its file.
    """

    store: Store | None
    backbone: Backbone
    data: DataModule
    precision: str = "32-true"
    autocast: Callable[[], AbstractContextManager] = nullcontext
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    memory_bytes: float = 1e9
    max_bytes: float = 20e9
    seconds: float = 0.0
    _opened: set[str] = field(default_factory=set)
    _weights: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start a phase: weights may have changed since the last one, and its activations are held no more."""
        self._weights.clear()
        self._left = self.memory_bytes

    def collect(self, split: str, cut: Cut, views: Sequence[int], ahead: Sequence[Cut] = ()) -> Features:
        """Return the activations of ``split`` at ``cut`` in these views, from the store or by one pass for each view.

        A pass stores the activations at the cuts ``ahead``, which later phases need, as well. Raises OSError when
        the disk is full; nothing half-written stays behind.
        """
        started = time.monotonic()
        try:
            found = {view: self._view(split, cut, view, ahead) for view in views}
            self._prune()
        finally:
            self.seconds += time.monotonic() - started
        pace = next(iter(found.values()))[1]
        return Features({view: tensor for view, (tensor, _) in found.items()}, pace)

    def _view(self, split: str, cut: Cut, view: int, ahead: Sequence[Cut]) -> tuple[Tensor, float]:
        """Return the activations [N, ...] of one view, and the seconds a sample took."""
        if self.store is None:
            return self._compute(split, [cut], view, None)[0]
        store, key = self.store, self.key(split, cut, view)
        for _ in range(ATTEMPTS):
            if (loaded := self._load(store, key)) is not None:
                return loaded
            self.fill(split, view, (*ahead, cut))
        loaded = self._load(store, key)
        if loaded is None:
            raise OSError(f"{store.root}: the entry {key} is damaged or gone as soon as it is written")
        return loaded

    def fill(self, split: str, view: int, cuts: Sequence[Cut]) -> int:
        """Store what is missing of one view at all these cuts, in one pass; return how many passes it took: 0 or 1.

        Where another process is at it already, its work is waited for. Raises OSError when the disk is full.
        """
        assert self.store is not None
        store = self.store
        wanted = {self.key(split, cut, view): cut for cut in cuts}

        def missing() -> dict[str, Cut]:
            return {key: cut for key, cut in wanted.items() if store.find(key) is None}

        lacking = missing()
        if not lacking:
            return 0
        with store.claim(min(lacking), done=lambda: not missing()):
            lacking = missing()
            if lacking:
                self._build(store, split, view, lacking)
        return int(bool(lacking))

    def _load(self, store: Store, key: str) -> tuple[Tensor, float] | None:
        entry = store.open(key)
        if entry is None:
            return None
        try:
            tensor = self._read(entry)
        except FileNotFoundError:
            return None
        self._opened.add(key)
        return tensor, entry.manifest["seconds_per_sample"]

    def _read(self, entry: Entry) -> Tensor:
        """Return an entry's tensor, in memory while the budget lasts, else mapped from its file."""
        about = entry.manifest["about"]
        dtype = getattr(torch, entry.manifest["dtype"])
        if entry.bytes > self._left:
            content = np.memmap(entry.content, np.uint8, "c")
        else:
            content = np.fromfile(entry.content, np.uint8)
            self._left -= entry.bytes
        return torch.from_numpy(content).view(dtype).view(about["samples"], *about["shape"])

    def _build(self, store: Store, split: str, view: int, cuts: Mapping[str, Cut]) -> None:
        """Write the entries of all ``cuts``, by key, in one pass."""
        with ExitStack() as stack:
            writers = []
            for key, cut in cuts.items():
                writers.append(Writer(store, key, self._about(split, cut, view)))
                stack.callback(writers[-1].abandon)
            results = self._compute(split, list(cuts.values()), view, writers)
            for writer, (last, seconds) in zip(writers, results, strict=True):
                dtype = str(last.dtype).removeprefix("torch.")
                writer.commit(dtype=dtype, seconds_per_sample=seconds)
            stack.pop_all()
        sizes = ", ".join(f"{writer.about['cut']} ({size(writer.size)})" for writer in writers)
        log.info("Cached %s, view %d: %s.", split, view, sizes)

    def _about(self, split: str, cut: Cut, view: int) -> dict:
        return {
            "backbone": self.backbone.name,
            "cut": cut.name,
            "split": split,
            "view": view,
            "samples": len(self.data.splits[split]),
            "shape": list(cut.shape),
        }

    def _compute(
        self, split: str, cuts: Sequence[Cut], view: int, writers: Sequence[Writer] | None
    ) -> list[tuple[Tensor, float]]:
        """Run one pass; return for each cut its activations (only the last batch with ``writers``) and its pace."""
        self.backbone.to(self.device)
        network = prefix(self.backbone, [cut.name for cut in cuts]).eval()
        started, count = time.monotonic(), 0
        kept: list[list[Tensor]] = [[] for _ in cuts]
        for inputs in self.data.ordered(split, view, BATCH):
            with torch.inference_mode(), self.autocast():
                outputs = [output.cpu().contiguous() for output in network(inputs.to(self.device))]
            for place, content in enumerate(outputs):
                if writers is None:
                    kept[place].append(content)
                else:
                    writers[place].append(memoryview(content.flatten().view(torch.uint8).numpy()))
                    kept[place] = [content]
            count += len(inputs)
        each = (time.monotonic() - started) / count
        deepest = max(cut.flops for cut in cuts)
        paces = [each * cut.flops / deepest if deepest else each for cut in cuts]
        # torch.cat, outside of inference mode, makes tensors that autograd accepts
        return [(torch.cat(tensors), pace) for tensors, pace in zip(kept, paces, strict=True)]

    def key(self, split: str, cut: Cut, view: int) -> str:
        """Return the name of the entry that holds this split at this cut in this view."""
        look = self.backbone.preprocess
        if cut.name not in self._weights:
            self._weights[cut.name] = fingerprint(prefix(self.backbone, [cut.name]).state_dict())
        return Key(
            weights=self._weights[cut.name],
            architecture=self.backbone.architecture,
            cut=cut.name,
            normalisation=f"{look.mean} {look.std}",
            transform=self.data.transform_id(split),
            data=self.data.splits[split].fingerprint,
            split=split,
            view=view,
            precision=f"{self.precision} {self.device.type}",
            shape=cut.shape,
        ).digest()

    def _prune(self) -> None:
        if self.store is not None:
            for key in self.store.prune(int(self.max_bytes), keep=frozenset(self._opened)):
                log.info("Dropped the cache entry %s to stay below cache.max_gb.", key)
