"""Threads that each do a share of the work as a whole, in place of those that torch gives to every operation."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def share_threads() -> Iterator[tuple[int, ThreadPoolExecutor]]:
    """Give torch's threads, whose number is yielded, to a pool; each operation, also here, then has one thread.

    The threads of an operation wait for one another at its end, awake. Where other processes want the cores as well
    and a solver has thousands of short operations, that is most of the time: 10 times the seconds, measured.

    Products are in single precision meanwhile, not in the half of it that a run may have chosen for its network.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        with ThreadPoolExecutor(threads, "frostline-solving", lambda: torch.set_num_threads(1)) as pool:
            yield threads, pool
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def divide_range(length: int, shares: int, step: int) -> list[range]:
    """Return at most ``shares`` ranges of nearly the same length, to be gone over by ``step``."""
    each = -(-length // shares)
    return [range(start, min(start + each, length), step) for start in range(0, length, each)]


def add_tensors(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum of tensors, in their order, in the memory of the first; one more is held at a time."""
    rest = iter(tensors)
    total = next(rest)
    for other in rest:
        total += other
    return total
