"""Runs and comparisons of a network and data of one's own, from Python."""

import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.finished_runs import rows
from tests.own_networks import Pictures, Table, seeded
from torch import Tensor
from torch.utils.data import Dataset

from frostline.api.own import OwnRun, backbone, compare, tensors, train, with_options
from frostline.errors import UserError

SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "trainer": {"accelerator": "cpu", "enable_progress_bar": False},
    "optimizer": {"lr": 0.01},
}


def pictures(count: int = 90, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return pictures [N, 3, 16, 16] whose first channel tells their class of three."""
    labels = torch.arange(count) % 3
    inputs = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    inputs[:, 0] += labels[:, None, None]
    return inputs, labels


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def run(network: Any, data: Any, *overrides: str, **settings: Any) -> OwnRun:
        return train(network, data, *overrides, outputs=str(tmp_path / "outputs"), **{**SETTINGS, **settings})

    return run


def process() -> list[Any]:
    """Return what a run could change in this process."""
    names = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    return [
        torch.get_rng_state().tolist(),
        random.getstate(),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        list(logging.getLogger().handlers),
        [os.environ.get(name) for name in names],
    ]


def test_a_network_is_trained_on_tensors_and_predicts(run: Any) -> None:
    network, test = seeded(Pictures), pictures(30, 2)
    data, before = tensors(pictures(), pictures(30, 1), test), process()
    own = backbone(network, size=16, classifier="fc")
    found = run(own, data, freeze="last_k", k=1)
    assert process() == before and network.fc.out_features == 5 and network.fc.weight.grad is None
    assert found.status == "done" and found.metrics["test"]["accuracy"] > 0.4
    assert found.record["cached"][0].startswith("at network.second.relu_1")
    assert found.record["backbone"]["name"] == "Pictures" and found.record["config"]["task"]["_target_"].endswith("s")
    said = rows(found.folder / "predictions.csv")
    answers = found.predict(test[0])
    assert [one["prediction"] for one in answers] == [row["prediction"] for row in said]
    assert answers[0]["probabilities"]["0"] == pytest.approx(float(said[0]["p(0)"]), abs=1e-5)
    written = (found.folder / "record.json").stat().st_mtime_ns
    again = run(backbone(seeded(Pictures), size=16, classifier="fc"), data, freeze="last_k", k=1)
    assert again.record == found.record and (found.folder / "record.json").stat().st_mtime_ns == written
    assert run(own, data, freeze="last_k", k=1, cache={"enabled": False}).metrics == found.metrics


def test_another_network_or_other_data_is_another_run(run: Any) -> None:
    inputs, labels = pictures()
    settings = {"freeze": "linear_probe", "epochs": 1}
    found = run(backbone(seeded(Pictures), classifier="fc"), (inputs, labels), **settings)
    with torch.no_grad():
        changed = seeded(Pictures)
        changed.stem.weight.mul_(2)
    others = [
        run(backbone(changed, classifier="fc"), (inputs, labels), **settings),
        run(backbone(seeded(Pictures), classifier="fc"), (inputs + 1, labels), **settings),
        run(backbone(seeded(Pictures), classifier="fc", groups={"all": "*"}), (inputs, labels), **settings),
    ]
    assert len({one.id for one in [found, *others]}) == 4
    assert all(one.status == "done" for one in others)


class Augmented(Dataset):
    """Rows of numbers with noise, which is other noise each time they are read."""

    def __init__(self, count: int) -> None:
        self.inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(count))
        self.targets = self.inputs.sum(dim=1)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index] + 0.1 * torch.randn(6), self.targets[index]


def test_cached_views_of_an_augmented_dataset_are_those_of_an_uncached_run(run: Any) -> None:
    data = {"train": Augmented(64), "val": Augmented(20), "test": Augmented(21)}
    settings = {"freeze": "last_k", "k": 1, "epochs": 3, "head": {"solver": None}}
    cached = run(seeded(Table), data, "data.views=2", **settings)
    assert cached.record["config"]["monitor"] == "rmse" and cached.status == "done"
    assert cached.record["config"]["data"]["name"] == "Augmented"
    plain = run(seeded(Table), data, "data.views=2", cache={"enabled": False}, **settings)
    assert plain.metrics == cached.metrics and plain.id != cached.id


def test_strategies_are_compared(tmp_path: Path) -> None:
    data, network = tensors(pictures(), pictures(30, 1), pictures(30, 2)), backbone(seeded(Pictures), classifier="fc")
    options = {**SETTINGS, "outputs": str(tmp_path / "outputs"), "epochs": 1}
    freeze = ["linear_probe", {"last_k": {"k": 1}}, "scratch"]
    found = compare(network, data, freeze=freeze, seeds=[0, 1], **options)
    assert [one.status for one in found.runs] == ["done"] * 6 and found.report.path.is_file()
    records = [one.record or {} for one in found.runs]
    labels = [record["config"]["label"] for record in records]
    assert labels[:4] == [f"{name} seed {seed}" for name in ("linear_probe", "last_k(k=1)") for seed in (0, 1)]
    page = found.report.path.read_text()
    assert records[0]["cost"]["cache_seconds"] < 1 and "last_k" in page
    assert [one.content["backbone"] for one in found.profiles] == ["Pictures"] and "What each depth" not in page
    assert "Where the network knows what you need" in page
    assert "tensors, Pictures" in page
    again = compare(network, data, freeze=freeze, seeds=[0, 1], **options)
    assert again.folder == found.folder and [one.record for one in again.runs] == [one.record for one in found.runs]


class Broken(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("not today")
        return self.linear(x)


def test_a_run_that_fails_says_so_and_lets_others_go_on(run: Any) -> None:
    data = (torch.randn(60, 6), torch.arange(60) % 3)
    found = run(Broken(), data, freeze="full")
    assert found.status == "failed" and "not today" in found.record["reason"]
    with pytest.raises(UserError, match=r"this run is failed \(RuntimeError: not today\)"):
        found.predict(data[0])


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        (Table(), {"trainer": {"devices": 2, "accelerator": "cpu"}}, "trainer.devices: 2 is invalid"),
        (Table(), {"launcher": "slurm"}, "launcher, backbone and data"),
        (Table(), {"freeze": "last_k", "j": 1}, "freeze.j"),
        (Table(), {"epochs": object()}, "expected a text, a number, a list, a mapping or None"),
        (backbone(Table(), shape=[7]), {}, "Table cannot take samples of float32 [7]"),
        (Broken(), {"optimizer": {"lr": -1}}, "optimizer.lr"),
    ],
)
def test_mistakes_are_one_sentence(run: Any, network: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        run(network, (torch.randn(60, 6), torch.arange(60) % 3), **options)
    assert said in str(error.value)


def test_a_setting_that_no_config_has_is_an_option_of_the_strategy() -> None:
    settings = {"freeze": "last_k", "k": 2, "optimizer": {"lr": 0.1}, "data.classes": ["a b"], "monitor": None}
    assert with_options(settings) == {
        "freeze": "last_k",
        "freeze.k": 2,
        "optimizer": {"lr": 0.1},
        "data.classes": ["a b"],
        "monitor": None,
    }
