"""What the runs of a comparison will need, found out before the first of them: mistakes, costs, and one pass for all
caches.

The functions here run in a worker (they import torch); what they take and return is plain, but for objects that are
``given`` in this very process, as `Builder` takes them.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from types import MappingProxyType
from typing import Any

import torch

from frostline.backbones.cuts import Cut
from frostline.config.schema import Run
from frostline.config.secrets import make_mask, resolve_env
from frostline.data.splits import SPLITS
from frostline.errors import UserError
from frostline.features.policy import CachePolicy, Need
from frostline.features.prefix import PrefixCache
from frostline.ranks.devices import read_memory
from frostline.ranks.numerics import describe_numerics
from frostline.runs.build import Builder, Ingredients, check
from frostline.runs.flops import WorkModel
from frostline.runs.setup import make_cache, make_policy
from frostline.runs.sizes import check_disk, check_sizes, measure_disk
from frostline.runs.trainer import make_lone_trainer

Pass = tuple[PrefixCache, str, int, list[Cut]]
"""A cache, a split, a view of it, and the cuts that are stored on the way."""


def survey(
    configs: Sequence[Mapping[str, Any]], elsewhere: bool = False, given: Mapping[str, Any] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Return for each run what is known before it starts; ``elsewhere`` where it is to run on another machine.

    ``data`` says what the data set holds and ``counts`` how many samples each split has, ``stepped`` whether the
    learning rate plays a part in it, ``flops`` about how much it computes, ``phases`` how many there are, ``solved``
    how many epochs those at the beginning have that are solved, ``filling`` the FLOPs of the passes that fill what
    the cache lacks, ``missing`` how many entries of the cache are not
    there yet (None for GPUs elsewhere, whose names are not known here); or ``error``, the user's mistake.
    A run that cannot even be put together for another reason has nothing but that reason, ``broken``: it will fail by
    itself, and cost no other run.
    """
    return Survey(elsewhere, given).describe_all(configs)


def count_passes(
    configs: Sequence[Mapping[str, Any]], elsewhere: bool = False, given: Mapping[str, Any] = MappingProxyType({})
) -> int:
    """Return how many passes over a view of a split these runs' caches lack: so many workers can share them.

    ``elsewhere`` is that of ``survey``; of GPUs elsewhere it is not known, and all passes are counted.
    """
    here, found = Survey(elsewhere, given), set[str]()
    for cache, split, view, cuts in here.list_passes([Run.read(resolve_env(config)) for config in configs]):
        keys = [cache.key(split, cut, view) for cut in cuts]
        if here.lacks_gpu_name(cache) or here.count_missing(cache, keys):
            found.add(min(keys))
    return len(found)


def extract(
    configs: Sequence[Mapping[str, Any]],
    threads: int,
    workers: int = 1,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Store all that these runs will need of the prefix cache, with one pass over each view of each split.

    Of several ``workers`` that are asked this at the same time each takes the passes that no other one has taken, the
    longest first, and waits for none. What would go beyond ``cache.max_gb`` is left to the runs. Raises UserError
    when the cache cannot be written, as on a full disk.
    """
    torch.set_num_threads(threads)
    started = time.monotonic()
    here, passes, stored = Survey(given=given), 0, 0
    wanted = here.list_passes([Run.read(resolve_env(config)) for config in configs])
    try:
        check_disk(
            *measure_disk((cache, Need(split, cut, view)) for cache, split, view, cuts in wanted for cut in cuts)
        )
        for cache, split, view, cuts in wanted:
            if cache.fill(split, view, cuts, wait=workers == 1):
                passes += 1
                stored += sum(cut.bytes for cut in cuts) * len(cache.data.splits[split])
    except OSError as error:
        raise UserError(
            f"{configs[0]['outputs']}/cache cannot be written: {error.strerror or error}; expected room there, "
            "another outputs, or cache.enabled=false."
        ) from error
    return {"seconds": time.monotonic() - started, "passes": passes, "bytes": stored}


class Survey:
    """Looks at runs that are yet to be; networks, data sets, plans and caches are made once however many share them.

    With ``elsewhere`` they are made on the CPU, and what is decided is decided for the device that the runs will have.
    """

    def __init__(self, elsewhere: bool = False, given: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.elsewhere = elsewhere
        self.builder = Builder(given)

    def describe_all(self, configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what ``survey`` says of these runs."""
        return [self.describe(Run.read(resolve_env(config)), make_mask(config)) for config in configs]

    def describe(self, config: Run, hide: Callable[[str], str]) -> dict[str, Any]:
        """Return what ``survey`` says of one run; ``hide`` masks credentials in messages."""
        try:
            check(config)
            made = self.builder.build(config)
            cache, policy = self.make_cache(config, made), self.make_policy(config, made)
            if not self.elsewhere:  # the memory of another machine is not known here
                check_sizes(made, policy, read_memory())
            wanted = {cache.key(*need) for need in self.list_needs(config, policy)}
            work = WorkModel(made, policy, self.builder.share).count_planned(config.test)
        except UserError as error:
            return {"error": hide(str(error))}
        except Exception as error:  # a network or a data set of the user's own can raise anything
            logging.getLogger(__name__).exception("A run cannot be put together.")
            return {"error": None, "broken": hide(f"{type(error).__name__}: {error}")}
        places = range(len(made.plan.phases))
        return {
            "error": None,
            "data": made.data.summary,
            "stepped": not all(made.is_solved(index) for index in places),
            "phases": len(places),
            "solved": sum(made.plan.phases[index].epochs for index in takewhile(made.is_solved, places)),
            "flops": work.forward + work.backward,
            "counts": dict(made.samples),
            "entries": len(wanted),
            "filling": self.count_filling(cache, self.list_needs(config, policy)),
            "missing": None if self.lacks_gpu_name(cache) else self.count_missing(cache, wanted),
        }

    def make_cache(self, config: Run, made: Ingredients) -> PrefixCache:
        """Return the prefix cache over a run's backbone and data."""
        kind = config.trainer["accelerator"]
        here = {**config.trainer, "accelerator": "cpu" if self.elsewhere else kind}
        trainer = self.builder.share(["trainer", here], lambda: make_lone_trainer(here))
        device = torch.device(kind) if self.elsewhere else trainer.strategy.root_device
        key = ["cache", id(made.backbone), id(made.data), describe_numerics(config.trainer, kind), config.outputs]
        return self.builder.share(key, lambda: make_cache(replace(config, trainer=here), made, trainer, device=device))

    def make_policy(self, config: Run, made: Ingredients) -> CachePolicy:
        """Return what is cached of each phase of a run: the same for all seeds."""
        nodes = (config.backbone, config.adapter, config.data, config.augment, config.cache)
        key = ["policy", made.plan.to_dict(), *nodes, config.trainer["accelerator"]]
        device = torch.device(config.trainer["accelerator"])
        return self.builder.share(key, lambda: make_policy(config, made, device))

    def list_needs(self, config: Run, policy: CachePolicy) -> list[Need]:
        """Return what a run will read from the cache that does not depend on what it has trained by then."""
        return policy.list_needs(SPLITS if config.test else ("train", "val"))

    def lacks_gpu_name(self, cache: PrefixCache) -> bool:
        """Return whether the kind of GPU that a cache is for, of which its keys are made, is not known here."""
        return self.elsewhere and cache.device.type == "cuda"

    def count_missing(self, cache: PrefixCache, keys: "Sequence[str] | set[str]") -> int:
        """Return how many of these entries a cache lacks."""
        assert cache.store is not None
        return sum(cache.store.find(key) is None for key in keys)

    def count_filling(self, cache: PrefixCache, needs: Sequence[Need]) -> float:
        """Return the FLOPs of the passes that fill what a run needs of the cache and is not there."""
        passes: dict[tuple[str, int], float] = {}
        for split, cut, view in needs:
            if self.lacks_gpu_name(cache) or self.count_missing(cache, [cache.key(split, cut, view)]):
                passes[split, view] = max(passes.get((split, view), 0.0), cut.flops)
        return sum(flops * len(cache.data.splits[split]) for (split, _), flops in passes.items())

    def list_passes(self, configs: Sequence[Run]) -> list[Pass]:
        """Return each cache, split and view with the cuts that any run wants of it; the longest pass comes first."""
        found = [
            (cache, *place, cuts) for cache, needs in self.list_shared_needs(configs) for place, cuts in needs.items()
        ]

        def work(one: Pass) -> float:
            cache, split, _, cuts = one
            return len(cache.data.splits[split]) * max(cut.flops for cut in cuts)

        return sorted(found, key=work, reverse=True)

    def list_shared_needs(
        self, configs: Sequence[Run]
    ) -> Iterator[tuple[PrefixCache, dict[tuple[str, int], list[Cut]]]]:
        """Yield each cache with the cuts that any run wants of each view of each split, as far as they fit."""
        caches: dict[int, PrefixCache] = {}
        wanted: dict[int, dict[tuple[str, int], dict[str, Cut]]] = {}
        room = max((config.cache.max_gb for config in configs), default=0.0) * 1e9
        for config in configs:
            made = self.builder.build(config)
            cache = self.make_cache(config, made)
            caches[id(cache)] = cache
            table = wanted.setdefault(id(cache), {})
            for split, cut, view in self.list_needs(config, self.make_policy(config, made)):
                cuts = table.setdefault((split, view), {})
                size = cut.bytes * len(cache.data.splits[split])
                if cut.name not in cuts and size <= room:
                    cuts[cut.name] = cut
                    room -= size
        for name, cache in caches.items():
            yield cache, {place: list(cuts.values()) for place, cuts in wanted[name].items() if cuts}
