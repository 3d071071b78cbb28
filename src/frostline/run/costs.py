"""The ledger of a run's costs, whose state stands in every checkpoint so that it survives a kill."""

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from frostline.features.prefix import PrefixCache
from frostline.freeze.plan import Plan
from frostline.ranks.collectives import ALONE, Group
from frostline.results.record import Cost


class Ledger:
    """Charges time to phases, and counts what reading activations saved over computing them.

    ``seconds_saved`` is the time that the forward passes not run would have taken, at the pace measured when the
    activations were computed, less the time spent on the cache; it is below zero where the cache has not paid yet.
    The ranks of ``group`` would have shared these passes. ``machine`` is what this sitting is computed on.
    """

    def __init__(
        self,
        plan: Plan,
        samples: dict[str, int],
        group: Group = ALONE,
        machine: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.plan, self.samples, self.group = plan, samples, group
        self.machine = dict(machine)
        self.cache: PrefixCache | None = None
        self.paces: dict[str, float] = {}
        self.mark = time.monotonic()
        self.counted = 0.0
        self.spent: dict[str, Any] = {
            "seconds": 0.0,
            "phases": [0.0] * len(plan.phases),
            "cache": 0.0,
            "spared": 0.0,
            "trained": 0,
            "peak_host": 0,
            "peak_device": 0,
            "machines": [],
        }

    def state(self) -> dict[str, Any]:
        """Return what was spent so far, in all sittings, as a checkpoint holds it."""
        return self.spent

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what an earlier sitting had spent."""
        self.spent = state

    def begin(self, index: int, paces: dict[str, float]) -> None:
        """Start serving a phase at these paces: seconds that a sample of a split would take to compute."""
        self.paces = paces

    def charge(self, epoch: int) -> None:
        """Charge the time since the last charge to the phase of ``epoch``, which has just ended on all ranks."""
        index, _ = self.plan.at(epoch)
        elapsed = self._elapsed()
        cost = self.spent
        cost["phases"][index] += elapsed
        cost["trained"] += self.samples["train"]
        passes = sum(self.paces.get(split, 0.0) * self.samples[split] for split in ("train", "val"))
        cost["spared"] += passes / self.group.world
        self.gather_peaks()

    def _elapsed(self) -> float:
        now = time.monotonic()
        elapsed, self.mark = now - self.mark, now
        cost = self.spent
        cost["seconds"] += elapsed
        if self.machine not in cost["machines"]:
            cost["machines"].append(self.machine)
        if self.cache is not None:
            cost["cache"] += self.cache.seconds - self.counted
            self.counted = self.cache.seconds
        return elapsed

    def gather_peaks(self) -> None:
        """Note the most memory that any rank has taken so far, of its machine and of its GPU. All ranks call this."""
        cost = self.spent
        for name, own in {"peak_host": peak_memory(), "peak_device": peak_device_memory()}.items():
            cost[name] = max(cost[name], *self.group.each(own))

    def describe_machines(self) -> dict[str, Any]:
        """Return what the run is computed on; ``earlier`` has what its earlier sittings were on, where it differs."""
        earlier = [one for one in self.spent["machines"] if one != self.machine]
        return {**self.machine, "earlier": earlier}

    def cost(self) -> Cost:
        """Return what the run has cost, the test included."""
        self._elapsed()
        cost = self.spent
        tested = self.paces.get("test", 0.0) * self.samples["test"] / self.group.world
        training = sum(cost["phases"])
        return Cost(
            seconds=cost["seconds"],
            phases=cost["phases"],
            cache_seconds=cost["cache"],
            seconds_saved=cost["spared"] + tested - cost["cache"],
            peak_host_bytes=cost["peak_host"],
            peak_device_bytes=cost["peak_device"],
            samples_per_second=cost["trained"] / training if training else 0.0,
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
