"""Costs: what belongs to this run alone, and to all of its ranks and sittings."""

import json
from typing import Any

import pytest
import torch
from tests.finished_runs import finished
from tests.tiny import RUN

from frostline.config.compose import compose, resolve
from frostline.freeze.plan import Phase, Plan, Train
from frostline.ranks.collectives import ALONE, Ranks
from frostline.ranks.machine import describe_machine
from frostline.results.loading import load_record
from frostline.runs.costs import Costs, forget_peak_memory, read_peak_memory

PLAN = Plan((Phase("head", 2, {"head": Train(1.0, "all")}),), ("stem",))
SAMPLES = {"train": 4, "val": 2, "test": 2}
CPU = torch.device("cpu")
LARGE = 10**15


class Beside(Ranks):
    """Rank 0 of two, the other of which took more memory."""

    def gather_values(self, content: Any) -> list[Any]:
        return [content, LARGE if isinstance(content, int) else content]


def test_the_peak_is_of_this_run_even_in_a_warm_process() -> None:
    forget_peak_memory()
    before = read_peak_memory()
    blocks = [torch.ones(10_000) for _ in range(5000)]  # 200 MB in pieces that the C library would keep
    high = read_peak_memory()
    blocks.clear()
    forget_peak_memory()
    if read_peak_memory() == high:
        pytest.skip("this system does not let a process reset its peak")
    assert high > before + 150e6
    assert read_peak_memory() < before + 50e6


def test_the_peak_is_that_of_the_rank_that_took_most_in_any_sitting() -> None:
    first = Costs(PLAN, SAMPLES, ranks=Beside(0, 2))
    first.charge(0)
    costs = Costs(PLAN, SAMPLES)
    costs.load(json.loads(json.dumps(first.state())))  # as a checkpoint gives it back
    costs.charge(1)
    assert costs.add_up().peak_host_bytes == costs.add_up().peak_device_bytes == LARGE
    alone = Costs(PLAN, SAMPLES)
    alone.charge(0)
    assert 0 < alone.add_up().peak_host_bytes < LARGE
    assert torch.cuda.is_available() or alone.add_up().peak_device_bytes == 0


def test_a_run_that_went_on_elsewhere_says_where_it_was_before() -> None:
    here = describe_machine(CPU, {}, ALONE)
    earlier: dict[str, Any] = {}
    for machine in ({**here, "names": ["another"]}, here, here):
        costs = Costs(PLAN, SAMPLES, machine=machine)
        if earlier:
            costs.load(earlier)
        costs.charge(0)
        earlier = costs.state()
    assert costs.describe_machines() == {**here, "earlier": [{**here, "names": ["another"]}]}


def test_a_machine_has_a_name_for_each_rank_and_none_for_a_host() -> None:
    found = describe_machine(CPU, {"deterministic": "warn"}, Beside(0, 2))
    assert found["device"] == "cpu" and len(found["names"]) == 2 and found["hosts"] == 1 and found["names"][0]
    assert found["deterministic"] == "warn" and found["cpus"] >= 1 and found["cuda"] is None


def test_a_record_says_what_it_was_computed_on(tmp_path: Any) -> None:
    given = [*RUN, "freeze=linear_probe", "trainer.matmul_precision=high", f"outputs={tmp_path}"]
    record, folder = finished(resolve(compose("run", given)))
    machine = record["machine"]
    assert machine["device"] == record["config"]["trainer"]["accelerator"] == "cpu"
    assert machine["matmul_precision"] == "high" and not machine["deterministic"] and machine["earlier"] == []
    assert record["cost"]["peak_host_bytes"] > 0 and record["cost"]["peak_device_bytes"] == 0
    for wrong in ({"hosts": "x"}, {"earlier": [3]}, {"earlier": [{"hosts": None}]}):
        (folder / "record.json").write_text(json.dumps({**record, "machine": {**machine, **wrong}}))
        with pytest.raises(ValueError, match=r"machine\.(hosts|earlier)"):
            load_record(folder / "record.json")
