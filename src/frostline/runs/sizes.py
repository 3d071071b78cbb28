"""Whether what a run stores, holds in memory and solves fits there, found out before any of it is computed."""

import errno
import shutil
from collections.abc import Iterable

from frostline.errors import UserError
from frostline.features.policy import CachePolicy, Need
from frostline.features.prefix import PrefixCache
from frostline.freeze.plan import HEAD
from frostline.heads import Taps
from frostline.runs.build import Ingredients
from frostline.training.solve import check_solving_size
from frostline.units import format_bytes


def check_sizes(made: Ingredients, policy: CachePolicy, memory: int) -> None:
    """Refuse a run whose phases take more than ``memory`` bytes for what a head reads. Raises UserError.

    What ``head.taps=auto`` solves is known when it has chosen.
    """
    for index in range(len(made.plan.phases)):
        if made.is_solved(index) and not (isinstance(made.head, Taps) and made.head.taps == "auto"):
            check_solving_size(
                made.samples["train"] * len(policy.list_views(index)), made.width, name_key(made), memory
            )
        check_memory(made, policy, index, memory)


def check_memory(made: Ingredients, policy: CachePolicy, index: int, memory: int) -> None:
    """Refuse a phase that must keep more than ``memory`` bytes of what its head reads, since the cache does not.

    Raises UserError.
    """
    if policy.reads_stored(index):
        return
    samples, views = made.samples, len(policy.list_views(index))
    if made.is_solved(index):
        held = samples["train"] * views + samples["val"]
    elif index == find_first_scaled(made):  # the training samples are measured in one view
        held, views = samples["train"], 1
    else:
        return
    need = held * sum(one.bytes for one in policy.read)
    if need > memory:
        fewer = "fewer taps (head.taps=late, or a list)" if made.taps else "head.solver=null"
        raise UserError(
            f"{name_key(made)}: what the head reads of {held:,} samples, views counted, is {format_bytes(need)}; this "
            f"machine has {format_bytes(memory)} of memory, and the cache does not take it "
            f"({policy.choices[index].reason}): expected {fewer}, fewer data.views, or a cache with room for it."
        )


def find_first_scaled(made: Ingredients) -> int | None:
    """Return the first phase in which a head over taps trains, and so has them measured; None where there is none."""
    if made.scaling is None:
        return None
    return next((index for index, phase in enumerate(made.plan.phases) if HEAD in phase.train), None)


def name_key(made: Ingredients) -> str:
    """Return the key by which a user says what the head reads, or how it is trained on it."""
    return "head.taps" if made.taps else "head.solver"


def measure_disk(needs: Iterable[tuple[PrefixCache, Need]]) -> tuple[int, int]:
    """Return how many bytes of these entries are not stored yet, and how many are free where they would be."""
    lacking, free = dict[str, int](), 0
    for cache, need in needs:
        assert cache.store is not None
        folder = next(one for one in (cache.store.root, *cache.store.root.parents) if one.exists())
        free = shutil.disk_usage(folder).free
        key = cache.key(*need)
        if cache.store.find(key) is None:
            lacking[key] = need.cut.bytes * len(cache.data.splits[need.split])
    return sum(lacking.values()), free


def check_disk(need: int, free: int) -> None:
    """Refuse to store ``need`` bytes where fewer are ``free``, before the pass that would fill the disk does.

    Raises OSError.
    """
    if need > free:
        raise OSError(errno.ENOSPC, f"{format_bytes(need)} are to be stored, and {format_bytes(free)} are free")
