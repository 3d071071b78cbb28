"""What a run costs in time and memory, kept in its checkpoints so that it survives a kill."""

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from frostline.features.prefix import PrefixCache
from frostline.freeze.plan import Plan
from frostline.ranks.collectives import ALONE, Group
from frostline.results.record import Cost


@dataclass
class Spent:
    """What a run has cost so far, in all its sittings.

    ``phases`` are the seconds of each phase, ``cache`` those of the cache; ``spared`` the seconds that the forward
    passes not run would have taken; ``trained`` the samples that trained; peaks are in bytes.
    """

    seconds: float = 0.0
    phases: list[float] = field(default_factory=list)
    cache: float = 0.0
    spared: float = 0.0
    trained: int = 0
    peak_host: int = 0
    peak_device: int = 0
    machines: list[dict[str, Any]] = field(default_factory=list)

    def add(self, seconds: float, cache: float, machine: dict[str, Any]) -> None:
        """Add seconds on a machine, of which so many went to the cache."""
        self.seconds += seconds
        self.cache += cache
        if machine not in self.machines:
            self.machines.append(machine)

    def add_epoch(self, phase: int, seconds: float, trained: int, spared: float) -> None:
        """Add to a phase, by its index, an epoch that is done."""
        self.phases[phase] += seconds
        self.trained += trained
        self.spared += spared

    def raise_peaks(self, host: int, device: int) -> None:
        """Note the most memory taken, where it is more than before."""
        self.peak_host = max(self.peak_host, host)
        self.peak_device = max(self.peak_device, device)


class Costs:
    """Charges time to phases, and counts what reading activations saved over computing them.

    ``seconds_saved`` is the time that the forward passes not run would have taken, at the pace measured when the
    activations were computed, less the time spent on the cache; it is below zero where the cache has not paid yet.
    The ranks of ``group`` would have shared these passes. ``machine`` is what this sitting is computed on, ``since``
    the `time.monotonic` from which it is charged.
    """

    def __init__(
        self,
        plan: Plan,
        samples: Mapping[str, int],
        cache: PrefixCache | None = None,
        group: Group = ALONE,
        machine: Mapping[str, Any] = MappingProxyType({}),
        since: float | None = None,
    ):
        self.plan, self.samples, self.cache, self.group, self.machine = plan, samples, cache, group, dict(machine)
        self.spent = Spent(phases=[0.0] * len(plan.phases))
        self._paces: dict[str, float] = {}
        self._since = time.monotonic() if since is None else since
        self._counted = 0.0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, in plain containers."""
        return asdict(self.spent)

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned in an earlier sitting."""
        self.spent = Spent(**state)

    def leave_out(self, seconds: float) -> None:
        """Charge the run so many seconds less: they were spent on what is none of its business."""
        self._since += seconds

    def serve(self, paces: Mapping[str, float]) -> None:
        """Count from now on what is saved at these paces: seconds that a sample of a split would take to compute."""
        self._paces = dict(paces)

    def charge(self, epoch: int) -> None:
        """Charge the time since the last charge to the phase of ``epoch``, which has just ended on all ranks."""
        index, _ = self.plan.at(epoch)
        passes = sum(self._paces.get(split, 0.0) * self.samples[split] for split in ("train", "val"))
        self.spent.add_epoch(index, self._elapsed(), self.samples["train"], passes / self.group.world)
        self.gather_peaks()

    def _elapsed(self) -> float:
        now = time.monotonic()
        elapsed, self._since = now - self._since, now
        before, self._counted = self._counted, 0.0 if self.cache is None else self.cache.seconds
        self.spent.add(elapsed, self._counted - before, self.machine)
        return elapsed

    def gather_peaks(self) -> None:
        """Note the most memory that any rank has taken so far, of its machine and of its GPU. All ranks call this."""
        self.spent.raise_peaks(max(self.group.each(peak_memory())), max(self.group.each(peak_device_memory())))

    def describe_machines(self) -> dict[str, Any]:
        """Return what the run is computed on; ``earlier`` has what its earlier sittings were on, where it differs."""
        earlier = [one for one in self.spent.machines if one != self.machine]
        return {**self.machine, "earlier": earlier}

    def total(self) -> Cost:
        """Return what the run has cost, the test included; FLOPs and checkpoints are not counted here."""
        self._elapsed()
        spent, training = self.spent, sum(self.spent.phases)
        tested = self._paces.get("test", 0.0) * self.samples["test"] / self.group.world
        return Cost(
            seconds=spent.seconds,
            phases=spent.phases,
            cache_seconds=spent.cache,
            seconds_saved=spent.spared + tested - spent.cache,
            peak_host_bytes=spent.peak_host,
            peak_device_bytes=spent.peak_device,
            samples_per_second=spent.trained / training if training else 0.0,
        )


def forget_peak_memory() -> None:
    """Let the peak be counted from here on: a warm process has had other runs, whose memory is none of the next one's.

    What is free is given back to the system first. Where Linux does not let a process reset its peak, as on other
    systems, it stays the largest of the process's life.
    """
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    if sys.platform == "linux":
        with suppress(AttributeError):  # only glibc keeps freed memory back, and has this
            ctypes.CDLL(None).malloc_trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_device_memory() -> int:
    """Return the most bytes that tensors of this process took of its GPU, 0 where it has none."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0


def peak_memory() -> int:
    """Return the largest resident memory of this process in bytes, since ``forget_peak_memory`` where that works."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
