"""The arithmetic of docs/scaling.md against what DDP and the cache really do, and its tables against the script."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
# (what a split serves is a tensor here, though it could be sequences)

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.configs import make

from frostline.features.activations import Activations
from frostline.features.cache import Store
from frostline.features.prefix import PrefixCache
from frostline.heads import Linear

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "scaling.md").read_text()

sys.path.append(str(ROOT / "benchmarks"))  # last: a package of NVIDIA's is called cuda, as a script there is
cluster: Any = importlib.import_module("scaling_cluster")
scaling: Any = importlib.import_module("scaling")
measured: Any = importlib.import_module("scaling_measured")


@pytest.fixture(scope="module")
def found() -> Any:
    torch.set_num_threads(1)
    return cluster.networks()


@pytest.fixture(scope="module")
def lite(found: Any) -> Any:
    return found[0]


@pytest.mark.parametrize(
    "strategy", ["linear_probe", "last_k k=1", "norm_only", "bias_only", "gradual", "chain_thaw", "full"]
)
def test_a_step_all_reduces_four_bytes_for_each_parameter_that_trains(strategy: str, lite: Any) -> None:
    module = measured.tuner(
        lite.backbone, Linear(lite.backbone.num_features, cluster.CLASSES, solver=None, dropout=0.0)
    )
    inputs = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    phases = lite.plan(strategy).phases
    with measured.alone():
        for phase in {phases[0].name: phases[0], phases[len(phases) // 2].name: phases[len(phases) // 2]}.values():
            counted = measured.exchanged(module, phase, inputs, lite.backbone)
            trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
            assert counted == lite.reduced(phase) == 4 * trained


def test_the_cache_writes_as_many_bytes_for_a_sample_as_its_cut_says(lite: Any, tmp_path: Path) -> None:
    data = make("data/digits", preprocess=lite.backbone.preprocess, num_per_class=1, size=None)
    cuts = [cut for network, _, cut in scaling.cached([lite]) if network is lite]
    assert len(cuts) == 3 and cuts[0].bytes == 5120
    store = Store(tmp_path)
    PrefixCache(store, lite.backbone, data).fill("train", 0, cuts)
    written = sorted(sum(file.stat().st_size for file in entry.contents) for entry in store.entries())
    assert written == [10 * cut.bytes for cut in cuts]


def test_rows_of_several_files_are_those_of_one() -> None:
    whole = torch.randn(20, 3)
    places = torch.randperm(20)
    assert torch.equal(Activations(list(whole.split([7, 0, 12, 1]))).select(places), whole[places])


def test_an_all_reduce_sends_each_byte_twice_less_one_part() -> None:
    fast = cluster.Hardware(latency=0.0, gpu_link=8.0, node_link=2.0)
    assert cluster.ring(8.0, 2, fast) == 1.0
    assert cluster.ring(8.0, 64, fast) == pytest.approx(2 * 63 / 64 * 4)


def test_the_documents_tables_are_what_the_script_prints(found: Any) -> None:
    for title, text in scaling.tables(found, cluster.Hardware(), cluster.Measured()).items():
        assert text in DOCUMENT, f"docs/scaling.md: the table {title} is not what benchmarks/scaling.py prints"
