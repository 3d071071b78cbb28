"""The caches of a comparison, filled by all slots of the pool: each pass once, and one that is killed costs itself."""

import importlib
import json
import math
import operator
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests import configs

from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.features.cache import Store
from frostline.launchers.pool.launcher import Pool
from frostline.runs.survey import count_passes, extract

SMALL = ("data=digits", "data.num_per_class=5", "data.size=32", "epochs=2", "augment=light", "data.views=2")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with configs.make("launcher/local", workers=2, threads=1) as made:
        yield made
    sys.path.pop(0)


def find(name: str) -> Callable[..., Any]:
    """Return a function of tests/faulty.py, as a worker finds it."""
    return getattr(importlib.import_module("faulty"), name)


def make(outputs: Path) -> list[dict[str, Any]]:
    """Return runs that share four passes: two views of train, val and test."""
    names = ("linear_probe", "last_k", "full")
    return [resolve(compose("run", [*SMALL, f"freeze={name}", f"outputs={outputs}"])).plain() for name in names]


def sums(outputs: Path) -> dict[str, list[str]]:
    """Return the SHA-256 of each entry's content, by key."""
    entries = Store(outputs / "cache").entries()
    return {entry.key: [part["sha256"] for part in entry.manifest["parts"]] for entry in entries}


@pytest.mark.slow
def test_slots_share_the_passes_and_each_is_done_once(pool: Pool, tmp_path: Path) -> None:
    configs = make(tmp_path / "shared")
    assert count_passes(configs) == 4
    found = pool.call_many(2, find("extract_slowly"), configs, 1, 2)
    assert sum(one["passes"] for one in found) == 4 and all(one["passes"] for one in found), found
    assert count_passes(configs) == 0
    alone = extract(make(tmp_path / "alone"), 1)
    assert alone["passes"] == 4 and alone["bytes"] == sum(one["bytes"] for one in found)
    assert sums(tmp_path / "shared") == sums(tmp_path / "alone")


def test_an_extraction_that_is_killed_costs_its_own_pass(pool: Pool, tmp_path: Path) -> None:
    configs = make(tmp_path)
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(pool.call_many, 2, find("extract_slowly"), configs, 1, 2)
        claims: list[Path] = []
        while len(claims) < 2:
            assert not coming.done()
            time.sleep(0.02)
            claims = list((tmp_path / "cache").glob(".*.claim"))
        _, pid = json.loads(claims[0].read_text())
        os.kill(pid, signal.SIGKILL)
        found = coming.result(60)
    (killed,) = [one for one in found if isinstance(one, UserError)]
    assert "SIGKILL" in str(killed)
    (other,) = [one for one in found if one is not killed]
    assert other["passes"] in (3, 4), "of the other slot all, and that pass too where it came to it afterwards"
    assert count_passes(configs) == 4 - other["passes"]
    left = pool.call_many(1, extract, configs, 1, 1)[0]
    assert left["passes"] == 4 - other["passes"] and count_passes(configs) == 0
    Store(tmp_path / "cache").prune(1 << 40)
    assert not list((tmp_path / "cache").glob(".*"))


def test_a_mistake_of_one_slot_stands_beside_the_results_of_others(pool: Pool) -> None:
    assert pool.call_many(2, math.gcd, 12, 18) == [6, 6]
    refused = pool.call_many(2, find("refuse"), "yes")
    assert [type(one) for one in refused] == [UserError, UserError]
    with pytest.raises(ZeroDivisionError):
        pool.call_many(2, operator.truediv, 1, 0)
    assert len(set(pool.call_many(2, os.getpid))) == 2
