"""Run a frozen prefix over the data once, keep its activations, and serve them as a data source."""

import errno
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut
from frostline.backbones.taps import PooledPrefix
from frostline.backbones.weights.loading import fingerprint
from frostline.data.base import DataModule
from frostline.data.inputs import Inputs
from frostline.data.order import Share
from frostline.data.sending import send
from frostline.features.activations import Activations, CachedSplit, StoredSplit, TappedSplit
from frostline.features.cache import Entry, Store, Writer
from frostline.features.key import Key
from frostline.features.passes import Collector, Computed, run_pass
from frostline.files.leftovers import make_name
from frostline.ranks.collectives import ALONE, Ranks
from frostline.ranks.devices import free_bytes
from frostline.units import format_bytes

log = logging.getLogger(__name__)
BATCH = 32  # half the memory of 64 for a few percent of the speed
LENGTH = np.dtype("<i8")
SHARE = 0.25
"""Of a GPU's free memory, what activations may take before training has taken anything."""
ATTEMPTS = 3
"""An entry may be damaged, or dropped by another process just when it is to be read."""


@dataclass
class PrefixCache:
    """Get or build the activations of a backbone's frozen prefixes.

    ``store`` None keeps them in memory only, in that of rank 0. ``precision`` and ``autocast`` are those of the run's
    training; ``memory_bytes`` bounds what a phase reads into memory, the rest is mapped from its files. The ranks of
    ``ranks`` share the work: each computes and writes a part, and all read the whole. Entries that were ``opened``
    are not dropped for want of room.
    """

    store: Store | None
    backbone: Backbone
    data: DataModule
    precision: str = "32-true"
    autocast: Callable[[], AbstractContextManager] = nullcontext
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    memory_bytes: float = 1e9
    max_bytes: float = 20e9
    ranks: Ranks = ALONE
    opened: set[str] = field(default_factory=set)
    seconds: float = field(default=0.0, init=False)
    _on_device: list[CachedSplit] = field(default_factory=list, init=False)
    _weights: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start a phase: weights may have changed since the last one, and its activations are held no more."""
        self._weights.clear()
        self._left = self.memory_bytes
        for features in self._on_device:
            features.release()
        self._on_device.clear()

    def without_ranks(self) -> "PrefixCache":
        """Return the same cache for a rank that works by itself and waits for no other; its ``seconds`` begin at 0."""
        return replace(self, ranks=ALONE, opened=set(self.opened))

    def move_to_device(self, sources: Iterable[StoredSplit]) -> None:
        """Keep what fits of this phase's activations on the device that trains, which then indexes them there.

        A GPU gives ``SHARE`` of its free memory; training needs the rest. A split goes with all its views or not at
        all. Sequences stay: they are padded to a length that the host must know.
        """
        if self.device.type != "cuda":
            return
        left = SHARE * free_bytes(self.device)
        parts = [part for source in sources for part in (source.parts if isinstance(source, TappedSplit) else [source])]
        for features in parts:
            if features.bytes <= left and all(own.lengths is None for own in features.views.values()):
                left -= features.bytes
                features.move(self.device)
                self._on_device.append(features)

    def collect(self, split: str, cut: Cut, views: Sequence[int], ahead: Sequence[Cut] = ()) -> CachedSplit:
        """Return the activations of ``split`` at ``cut`` in these views, from the store or by one pass for each view.

        A pass stores the activations at the cuts ``ahead`` as well. Raises OSError when the disk is full; nothing
        half-written stays behind.
        """
        return self.collect_all(split, [cut], views, ahead)[cut.name]

    def collect_all(
        self, split: str, cuts: Sequence[Cut], views: Sequence[int], ahead: Sequence[Cut] = ()
    ) -> dict[str, CachedSplit]:
        """Return the activations at several cuts or taps, by name, as ``collect`` does: one pass serves them all."""
        started = time.monotonic()
        try:
            if self.store is None:
                found = {view: self._compute_in_memory(split, cuts, view) for view in views}
            else:
                wanted = list({cut.name: cut for cut in (*ahead, *cuts)}.values())
                found = {view: [self._view(split, cut, view, wanted) for cut in cuts] for view in views}
            self._prune()
        finally:
            self.seconds += time.monotonic() - started
        return {
            cut.name: CachedSplit({view: each[place][0] for view, each in found.items()}, found[views[0]][place][1])
            for place, cut in enumerate(cuts)
        }

    def _compute_in_memory(self, split: str, cuts: Sequence[Cut], view: int) -> list[tuple[Activations, float]]:
        """Return the activations of one view at each cut, in the memory of rank 0, and the seconds a sample took."""
        result = []
        for done in self._compute(split, cuts, view, None):
            lengths = self.ranks.gather_rows(done.lengths) if any(self.ranks.gather_values(done.ragged)) else None
            result.append((Activations([self.ranks.gather_rows(done.rows)], lengths), done.seconds))
        return result

    def _view(self, split: str, cut: Cut, view: int, wanted: Sequence[Cut]) -> tuple[Activations, float]:
        """Return the stored activations of one view at a cut, and the seconds a sample took."""
        assert self.store is not None
        store, key = self.store, self.key(split, cut, view)
        for attempt in range(ATTEMPTS + 1):
            if attempt:
                self.fill(split, view, wanted)
            loaded = self._run_together(lambda: self._load(store, key))
            if self.ranks.holds_everywhere(loaded is not None):
                return loaded
        raise OSError(f"{store.root}: the entry {key} is damaged or gone as soon as it is written")

    def fill(self, split: str, view: int, cuts: Sequence[Cut], wait: bool = True) -> int:
        """Store what is missing of one view at all these cuts, in one pass; return how many passes it took: 0 or 1.

        If another process is building the same entries, wait for it, or without ``wait`` leave them to it. Raises
        OSError when the disk is full.
        """
        assert self.store is not None
        store = self.store
        wanted = {self.key(split, cut, view): cut for cut in cuts}

        def missing() -> dict[str, Cut]:
            return {key: cut for key, cut in wanted.items() if store.find(key) is None}

        lacking = self._run_on_first(lambda: list(missing()))
        if not lacking:
            return 0
        name = min(lacking if wait else wanted)  # they go one by one into place: others may see a part of them
        with ExitStack() as stack:
            claim = store.claim(name, done=lambda: not missing(), wait=wait)
            turn = self._run_on_first(lambda: stack.enter_context(claim))
            lacking = self._run_on_first(lambda: list(missing())) if turn else []
            if lacking:
                self._build(store, split, view, {key: wanted[key] for key in lacking})
        return int(bool(lacking))

    def _load(self, store: Store, key: str) -> tuple[Activations, float] | None:
        entry = store.open(key)
        if entry is None:
            return None
        try:
            rows = self._read(entry)
        except FileNotFoundError:
            return None
        self.opened.add(key)
        return rows, entry.manifest["seconds_per_sample"]

    def _read(self, entry: Entry) -> Activations:
        """Return an entry's rows, in memory while the budget lasts, else mapped from its files."""
        dtype, shape = getattr(torch, entry.manifest["dtype"]), entry.manifest["about"]["shape"]
        held = [pair for pair in zip(entry.contents, entry.manifest["parts"], strict=True) if pair[1]["bytes"]]
        mapped = entry.bytes > self._left
        parts = [np.memmap(path, np.uint8, "c") if mapped else np.fromfile(path, np.uint8) for path, _ in held]
        self._left -= 0 if mapped else entry.bytes
        lengths = None
        if entry.manifest["ragged"]:
            tails = [LENGTH.itemsize * about["samples"] for _, about in held]
            each = [part[len(part) - tail :].tobytes() for part, tail in zip(parts, tails, strict=True)]
            lengths = torch.from_numpy(np.frombuffer(b"".join(each), LENGTH).copy())
            parts = [part[: len(part) - tail] for part, tail in zip(parts, tails, strict=True)]
        rows = [torch.from_numpy(part).view(dtype).view(-1, *shape) for part in parts]
        return Activations(rows if mapped or len(rows) < 2 else [torch.cat(rows)], lengths, mapped)

    def _build(self, store: Store, split: str, view: int, cuts: Mapping[str, Cut]) -> None:
        """Write the entries of all ``cuts``, by key, in one pass. Raises OSError on all ranks when it fails on one."""
        token = self.ranks.take_first(make_name())
        with ExitStack() as stack:
            writers: list[Writer] = []

            def write() -> list[tuple[Computed, dict[str, Any]]]:
                for key, cut in cuts.items():
                    writers.append(Writer(store, key, self._about(split, cut, view), token, self.ranks.rank))
                    stack.callback(writers[-1].abandon)
                results = self._compute(split, list(cuts.values()), view, writers)
                return [(done, _finish_part(writer, done)) for writer, done in zip(writers, results, strict=True)]

            written = self._run_together(write)
            parts = self.ranks.gather_values([part for _, part in written])

            def commit() -> None:
                for place, (writer, (done, _)) in enumerate(zip(writers, written, strict=True)):
                    dtype = str(done.rows.dtype).removeprefix("torch.")
                    more = {"dtype": dtype, "ragged": done.ragged, "seconds_per_sample": done.seconds}
                    writer.commit([own[place] for own in parts], **more)

            self._run_together(commit if self.ranks.leads else lambda: None)
            stack.pop_all()
        if not self.ranks.leads:
            return
        sizes = ", ".join(
            f"{cut.name} ({format_bytes(cut.bytes * len(self.data.splits[split]))})" for cut in cuts.values()
        )
        log.info("Cached %s, view %d: %s.", split, view, sizes)

    def _run_on_first(self, step: Callable[[], Any]) -> Any:
        """Return on all ranks the plain value that ``step`` returns on rank 0. Raises OSError on all where it does."""
        return self.ranks.take_first(self._run_together(step if self.ranks.leads else lambda: None))

    def _run_together(self, step: Callable[[], Any]) -> Any:
        """Return what ``step`` returns, or raise OSError on all ranks when it does on one: all go on uncached."""
        try:
            done, failure = step(), None
        except OSError as error:
            done, failure = None, error
        if self.ranks.holds_everywhere(failure is None):
            return done
        raise failure or OSError(errno.EIO, "another rank could not write the cache")

    def _about(self, split: str, cut: Cut, view: int) -> dict:
        return {
            "backbone": self.backbone.name,
            "cut": cut.name,
            "split": split,
            "view": view,
            "samples": len(self.data.splits[split]),
            "shape": list(cut.shape),
        }

    def _compute(self, split: str, cuts: Sequence[Cut], view: int, writers: Sequence[Writer] | None) -> list[Computed]:
        """Run one pass; return for each cut its activations (only the last of them with ``writers``) and its pace."""
        self.backbone.to(self.device)
        network = PooledPrefix(self.backbone, cuts).eval()
        collectors = [Collector(writer) for writer in (writers if writers is not None else [None] * len(cuts))]
        started, share = time.monotonic(), Share(self.ranks.rank, self.ranks.world)
        batches = self.data.serve_in_order(split, view, BATCH, share, pinned=self.device.type == "cuda")

        def ready(inputs: Inputs, indices: Tensor) -> Inputs:
            return self.data.augment_batch(split, send(inputs, self.device), indices, view)

        samples = run_pass(network, batches, ready, self.autocast, collectors)
        each = (time.monotonic() - started) / max(samples, 1)
        deepest = max(cut.flops for cut in cuts)
        paces = [each * cut.flops / deepest if deepest else each for cut in cuts]
        return [collector.result(pace, samples) for collector, pace in zip(collectors, paces, strict=True)]

    def key(self, split: str, cut: Cut, view: int) -> str:
        """Return the name of the entry that holds this split at this cut in this view."""
        if cut.name not in self._weights:
            used = cut.parameters | cut.buffers
            tensors = {**dict(self.backbone.named_parameters()), **dict(self.backbone.named_buffers())}
            self._weights[cut.name] = fingerprint({name: tensors[name] for name in used})
        return Key(
            weights=self._weights[cut.name],
            architecture=self.backbone.architecture,
            cut=cut.name,
            normalisation=self.backbone.preprocess.normalisation,
            transform=self.data.transform_id(split),
            data=self.data.splits[split].fingerprint,
            split=split,
            view=view,
            precision=f"{self.precision} {self.device.type}",
            shape=cut.shape,
        ).digest()

    def _prune(self) -> None:
        if self.store is not None and self.ranks.leads:
            for key in self.store.prune(int(self.max_bytes), keep=frozenset(self.opened)):
                log.info("Dropped the cache entry %s to stay below cache.max_gb.", key)


def _finish_part(writer: Writer, done: Computed) -> dict[str, Any]:
    """Write the lengths of sequences after their frames, and return what the manifest says of the part."""
    if done.ragged:
        writer.append(done.lengths.numpy().astype(LENGTH).tobytes())
    return writer.finish(done.samples)
