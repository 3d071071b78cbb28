"""Work that threads do: on many files at once, and ahead of what is used."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = min(8, os.cpu_count() or 1)
T = TypeVar("T")
R = TypeVar("R")
DEPTH = 2
END = object()


def run_in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return ``function`` of each item, in order; reading, hashing and decoding all leave Python's lock."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


def make_ahead(items: Iterable[T], depth: int = DEPTH) -> Generator[T]:
    """Yield ``items`` in order; a thread makes the next ``depth`` of them while one is used.

    What making one raises is raised here, when its turn has come. Whoever stops before the end closes the generator:
    that waits for the item that is being made, and ends the thread.
    """
    source = iter(items)
    with ThreadPoolExecutor(1, "frostline-ahead") as pool:
        coming = deque(pool.submit(next, source, END) for _ in range(depth))
        try:
            while (item := coming.popleft().result()) is not END:
                coming.append(pool.submit(next, source, END))
                yield item  # type: ignore[misc]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
