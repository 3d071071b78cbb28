"""The ledger of a run's costs, kept in its progress so that it survives a kill."""

import resource
import time

import torch

from frostline.features.prefix import PrefixCache
from frostline.freeze.plan import Plan
from frostline.results.record import Cost
from frostline.training.phases import Progress


class Ledger:
    """Charges time to phases, and counts what reading activations saved over computing them.

    ``seconds_saved`` is the time that the forward passes not run would have taken, at the pace measured when the
    activations were computed, less the time spent on the cache; it is below zero where the cache has not paid yet.
    """

    def __init__(self, progress: Progress, plan: Plan, samples: dict[str, int]):
        self.progress, self.plan, self.samples = progress, plan, samples
        self.cache: PrefixCache | None = None
        self.paces: dict[str, float] = {}
        self.mark = time.monotonic()
        self.counted = 0.0
        progress.cost = {"seconds": 0.0, "phases": [0.0] * len(plan.phases), "cache": 0.0, "spared": 0.0, "trained": 0}

    def begin(self, index: int, paces: dict[str, float]) -> None:
        """Start serving a phase at these paces: seconds that a sample of a split would take to compute."""
        self.paces = paces

    def charge(self, epoch: int) -> None:
        """Charge the time since the last charge to the phase of ``epoch``, which has just ended."""
        index, _ = self.plan.at(epoch)
        elapsed = self._elapsed()
        cost = self.progress.cost
        cost["phases"][index] += elapsed
        cost["trained"] += self.samples["train"]
        cost["spared"] += sum(self.paces.get(split, 0.0) * self.samples[split] for split in ("train", "val"))

    def _elapsed(self) -> float:
        now = time.monotonic()
        elapsed, self.mark = now - self.mark, now
        cost = self.progress.cost
        cost["seconds"] += elapsed
        if self.cache is not None:
            cost["cache"] += self.cache.seconds - self.counted
            self.counted = self.cache.seconds
        return elapsed

    def cost(self) -> Cost:
        """Return what the run has cost, the test included."""
        self._elapsed()
        cost = self.progress.cost
        tested = self.paces.get("test", 0.0) * self.samples["test"]
        training = sum(cost["phases"])
        return Cost(
            seconds=cost["seconds"],
            phases=cost["phases"],
            cache_seconds=cost["cache"],
            seconds_saved=cost["spared"] + tested - cost["cache"],
            peak_memory_bytes=peak_memory(),
            samples_per_second=cost["trained"] / training if training else 0.0,
        )


def peak_memory() -> int:
    """Return the largest memory of this process so far in bytes: of the accelerator where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
