"""What the runs of a comparison will need, found out before the first of them: mistakes, costs, and one pass for all
caches.

The functions here run in a worker (they import torch); what they take and return is plain.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, find_cuts
from frostline.config.schema import Run, instantiate
from frostline.config.secrets import make_mask, resolve_env
from frostline.data.base import DataModule
from frostline.errors import UserError
from frostline.features.policy import Choice
from frostline.features.prefix import PrefixCache
from frostline.freeze.plan import Plan
from frostline.ranks.collectives import environment
from frostline.ranks.numerics import describe_numerics
from frostline.run.assemble import check, choose, dataset, make_cache, make_task
from frostline.run.network import NOTHING, adapted, fit_adapter, make_backbone, make_plan, sizes
from frostline.run.parts import kept, trains, views

Need = tuple[str, int, Cut]
"""A split, a view of it, and a cut."""


def survey(
    configs: Sequence[Mapping[str, Any]], elsewhere: bool = False, given: Mapping[str, Any] = NOTHING
) -> list[dict[str, Any]]:
    """Return for each run what is known before it starts; ``elsewhere`` where it is to run on another machine.

    ``data`` says what the data set holds, ``stepped`` whether the learning rate plays a part in it, ``flops`` about how
    much it computes, ``phases`` how many there are, ``missing`` how many entries of the cache are not there yet (None
    for GPUs elsewhere, whose names are not known here); or ``error``, the user's mistake.
    A run that cannot even be put together for another reason has nothing but that reason, ``broken``: it will fail by
    itself, and cost no other run.
    """
    shelf = Shelf(elsewhere, given)
    return [_facts(shelf, Run.read(resolve_env(config)), make_mask(config)) for config in configs]


def count_passes(
    configs: Sequence[Mapping[str, Any]], elsewhere: bool = False, given: Mapping[str, Any] = NOTHING
) -> int:
    """Return how many passes over a view of a split these runs' caches lack: so many workers can share them.

    ``elsewhere`` is that of ``survey``; of GPUs elsewhere it is not known, and all passes are counted.
    """
    shelf, found = Shelf(elsewhere, given), set[str]()
    for cache, split, view, cuts in shelf.passes([Run.read(resolve_env(config)) for config in configs]):
        assert cache.store is not None
        keys = [cache.key(split, cut, view) for cut in cuts]
        if shelf.lacks_gpu_name(cache) or any(cache.store.find(key) is None for key in keys):
            found.add(min(keys))
    return len(found)


def extract(
    configs: Sequence[Mapping[str, Any]], threads: int, workers: int = 1, given: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    """Store all that these runs will need of the prefix cache, with one pass over each view of each split.

    Of several ``workers`` that are asked this at the same time each takes the passes that no other one has taken, the
    longest first, and waits for none. What would go beyond ``cache.max_gb`` is left to the runs. Raises UserError
    when the cache cannot be written, as on a full disk.
    """
    torch.set_num_threads(threads)
    started = time.monotonic()
    shelf, passes, stored = Shelf(given=given), 0, 0
    try:
        for cache, split, view, cuts in shelf.passes([Run.read(resolve_env(config)) for config in configs]):
            if cache.fill(split, view, cuts, wait=workers == 1):
                passes += 1
                stored += sum(cut.bytes for cut in cuts) * len(cache.data.splits[split])
    except OSError as error:
        raise UserError(f"{configs[0]['outputs']}/cache cannot be written ({error.strerror or error}).") from error
    return {"seconds": time.monotonic() - started, "passes": passes, "bytes": stored}


class Shelf:
    """Backbones, data sets and plans, each made once however many runs share it.

    With ``elsewhere`` they are made on the CPU, and what is decided is decided for the device that the runs will have.
    """

    def __init__(self, elsewhere: bool = False, given: Mapping[str, Any] = NOTHING) -> None:
        self.elsewhere, self.given = elsewhere, given
        self._made: dict[str, Any] = {}

    def backbone(self, config: Run) -> tuple[Backbone, Plan]:
        """Return a run's backbone and its plan."""
        random = config.backbone.get("weights") == "none"
        random = random or adapted(config)  # an adapter's weights are
        shared = (config.backbone, config.adapter, sizes(config.data), config.seed if random else None)
        network = self._once(shared, lambda: make_backbone(config, True, self.given))
        plan = self._once((shared, config.freeze, config.epochs), lambda: make_plan(config, network))
        if plan.pretrained:
            return network, plan
        return self._once((shared, config.seed), lambda: make_backbone(config, False, self.given)), plan

    def cache(self, config: Run, backbone: Backbone) -> PrefixCache:
        """Return the prefix cache over a run's backbone and data."""
        look = str(backbone.preprocess)
        named = [getattr(config, key) for key in ("data", "augment", "task", "seed")]
        data = self._once((*named, look), lambda: dataset(config, backbone, make_task(config), self.given))
        self._once((id(backbone), id(data)), lambda: fit_adapter(backbone, data) or True)
        kind = config.trainer["accelerator"]
        there = replace(config, trainer={**config.trainer, "accelerator": "cpu" if self.elsewhere else kind})
        trainer = self._once((there.trainer,), lambda: lone_trainer(there))
        device = torch.device(kind) if self.elsewhere else trainer.strategy.root_device
        parts = (id(backbone), id(data), describe_numerics(config.trainer, kind))
        return self._once(parts, lambda: make_cache(config, backbone, data, trainer, device=device))

    def lacks_gpu_name(self, cache: PrefixCache) -> bool:
        """Return whether the kind of GPU that a cache is for, of which its keys are made, is not known here."""
        return self.elsewhere and cache.device.type == "cuda"

    def choices(self, config: Run, plan: Plan, cache: PrefixCache) -> list[Choice]:
        """Return at which cut each phase of a run is cached: the same for all seeds."""
        backbone, data = cache.backbone, cache.data
        cuts = find_cuts(backbone, data.typical)
        parts = [
            getattr(config, key)
            for key in ("backbone", "adapter", "data", "augment", "freeze", "epochs", "cache", "trainer")
        ]
        places = range(len(plan.phases))
        return self._once(
            ("choices", *parts), lambda: [choose(config, backbone, data, plan, cuts, i, cache) for i in places]
        )

    def passes(self, configs: Sequence[Run]) -> list[tuple[PrefixCache, str, int, list[Cut]]]:
        """Return each cache, split and view with the cuts that any run wants of it; the longest pass comes first."""
        found = [(cache, *place, cuts) for cache, needs in self.needs(configs) for place, cuts in needs.items()]

        def work(one: tuple[PrefixCache, str, int, list[Cut]]) -> float:
            cache, split, _, cuts = one
            return len(cache.data.splits[split]) * max(cut.flops for cut in cuts)

        return sorted(found, key=work, reverse=True)

    def needs(self, configs: Sequence[Run]) -> Iterator[tuple[PrefixCache, dict[tuple[str, int], list[Cut]]]]:
        """Yield each cache with the cuts that any run wants of each view of each split, as far as they fit."""
        caches: dict[int, PrefixCache] = {}
        wanted: dict[int, dict[tuple[str, int], dict[str, Cut]]] = {}
        room = max((config.cache.max_gb for config in configs), default=0.0) * 1e9
        for config in configs:
            backbone, plan = self.backbone(config)
            cache = self.cache(config, backbone)
            caches[id(cache)] = cache
            table = wanted.setdefault(id(cache), {})
            for split, view, cut in needs(config, plan, cache.data, backbone, self.choices(config, plan, cache)):
                cuts = table.setdefault((split, view), {})
                size = cut.bytes * len(cache.data.splits[split])
                if cut.name not in cuts and size <= room:
                    cuts[cut.name] = cut
                    room -= size
        for name, cache in caches.items():
            yield cache, {place: list(cuts.values()) for place, cuts in wanted[name].items() if cuts}

    def _once(self, parts: tuple[Any, ...], make: Any) -> Any:
        key = json.dumps(parts, sort_keys=True, default=str)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def lone_trainer(config: Run) -> pl.Trainer:
    """Return a Trainer that only says on which device and in which precision the runs train."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    kept = {key: config.trainer[key] for key in ("_target_", "accelerator", "precision") if key in config.trainer}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return instantiate({**kept, **quiet, "devices": 1}, "trainer", plugins=[environment()], logger=False)


def needs(config: Run, plan: Plan, data: DataModule, backbone: Backbone, choices: Sequence[Choice]) -> list[Need]:
    """Return what a run will read from the cache that does not hang on what it has trained by then."""
    found: list[Need] = []
    for index in range(len(plan.phases)):
        cut = kept(plan, backbone, choices, 0, index)
        if cut is not None:
            found += [("train", view, cut) for view in views(plan, data, index)]
            found += [(split, 0, cut) for split in (("val", "test") if config.test else ("val",))]
    return found


def _facts(shelf: Shelf, config: Run, hide: Callable[[str], str]) -> dict[str, Any]:
    try:
        check(config)
        backbone, plan = shelf.backbone(config)
        cache = shelf.cache(config, backbone)
        choices = shelf.choices(config, plan, cache)
    except UserError as error:
        return {"error": hide(str(error))}
    except Exception as error:  # a network or a data set of the user's own can raise anything
        logging.getLogger(__name__).exception("A run cannot be put together.")
        return {"error": None, "broken": hide(f"{type(error).__name__}: {error}")}
    wanted = {cache.key(split, cut, view) for split, view, cut in needs(config, plan, cache.data, backbone, choices)}
    assert cache.store is not None
    return {
        "error": None,
        "data": cache.data.summary,
        "stepped": any(not (phase.head_only and config.head.get("solver")) for phase in plan.phases),
        "phases": len(plan.phases),
        "flops": _flops(config, plan, cache.data, backbone, choices),
        "entries": len(wanted),
        "missing": None if shelf.lacks_gpu_name(cache) else sum(cache.store.find(key) is None for key in wanted),
    }


def _flops(config: Run, plan: Plan, data: DataModule, backbone: Backbone, choices: Sequence[Choice]) -> float:
    """Return about how many FLOPs a run takes, its caches filled; a backward pass counts twice its forward pass."""
    cuts = find_cuts(backbone, data.typical)
    whole, total = cuts[-1].flops, 0.0
    train, val = len(data.splits["train"]), len(data.splits["val"])
    for phase, choice in zip(plan.phases, choices, strict=True):
        below = choice.cut.flops if choice.cut else 0
        trainable = set(trains(phase, backbone))
        frozen = [cut.flops for cut in cuts if not cut.parameters & trainable]
        back = 2 * (whole - max(frozen, default=0))
        epochs = 1 if phase.head_only and config.head.get("solver") else phase.epochs
        total += epochs * ((whole - below) * (train + val) + back * train)
    return total
