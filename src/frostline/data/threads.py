"""Work on many files at once: reading, hashing and decoding all leave Python's lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = min(8, os.cpu_count() or 1)
T, R = TypeVar("T"), TypeVar("R")


def run_in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return ``function`` of each item, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))
