"""One run from end to end, in this process: what it leaves behind, and that the cache changes nothing."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.finished_runs import finished, rows

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError

TINY = [
    "backbone=timm",
    "backbone.weights=none",
    "data.size=32",
    "data.num_per_class=6",
    "epochs=3",
    "trainer.accelerator=cpu",
    "optimizer.lr=0.003",
]


def make(outputs: Path, *overrides: str, network: str = "test_resnet") -> Run:
    return resolve(compose("run", [*TINY, f"backbone.name={network}", f"outputs={outputs}", *overrides]))


def run(outputs: Path, *overrides: str, network: str = "test_resnet") -> tuple[dict, Path]:
    return finished(make(outputs, *overrides, network=network))


def test_a_run_leaves_what_the_readme_says(tmp_path: Path) -> None:
    record, folder = run(tmp_path, "freeze=last_k", "freeze.k=1")
    assert record["status"] == "done" and record["reason"] is None
    assert record["config"]["freeze"]["k"] == 1
    assert {"python", "torch", "timm"} <= set(record["versions"])
    assert record["data"]["counts"]["train"] == 60 and len(record["data"]["classes"]) == 10
    assert record["backbone"]["name"] == "test_resnet" and len(record["backbone"]["fingerprint"]) == 64
    assert record["parameters"]["total"] > record["parameters"]["trainable"][0] > 0
    for split in ("train", "val", "test"):
        assert 0 <= record["metrics"][split]["accuracy"] <= 1
    assert set(record["metrics"]["test"]) == {
        "accuracy",
        "balanced_accuracy",
        "f1",
        "auroc",
        "calibration_error",
        "loss",
    }
    assert record["epochs"] == 3 and record["best_epoch"] in (0, 1, 2)
    cost = record["cost"]
    assert cost["seconds"] >= sum(cost["phases"]) > 0 and cost["peak_host_bytes"] > 0
    assert cost["samples_per_second"] > 0 and cost["cache_seconds"] > 0
    history = rows(folder / "metrics.csv")
    assert [row["epoch"] for row in history] == ["0", "1", "2"]
    assert {"phase", "train/loss", "val/accuracy", "lr/head", "lr/stage4", "seconds"} <= set(history[0])
    predictions = rows(folder / "predictions.csv")
    assert len(predictions) == record["data"]["counts"]["test"]
    hits = sum(row["label"] == row["prediction"] for row in predictions)
    assert hits / len(predictions) == pytest.approx(record["metrics"]["test"]["accuracy"])
    assert sum(map(sum, record["confusion"])) == len(predictions)


PLAIN, VIEWS = ["augment=none"], ["augment=light", "data.views=2"]


@pytest.mark.parametrize(
    ("network", "freeze", "views"),
    [
        ("test_resnet", "linear_probe", PLAIN),
        ("test_vit", "linear_probe", VIEWS),
        ("test_efficientnet", "last_k", PLAIN),
        ("test_vit", "last_k", PLAIN),
        ("test_resnet", "last_k", VIEWS),
        ("test_vit", "lp_ft", PLAIN),
        ("test_efficientnet", "lp_ft", VIEWS),
        ("test_resnet", "gradual", VIEWS),
        ("test_resnet", "chain_thaw", PLAIN),
    ],
)
def test_cached_and_uncached_runs_come_to_the_same_result(
    tmp_path: Path, network: str, freeze: str, views: list[str]
) -> None:
    both = []
    for enabled in ("true", "false"):
        options = [f"freeze={freeze}", "head.solver=null", f"cache.enabled={enabled}", *views]
        record, folder = run(tmp_path, *options, network=network)
        both.append((record, rows(folder / "predictions.csv"), rows(folder / "metrics.csv")))
    (cached, one, first), (uncached, other, second) = both
    assert any(reason.startswith("at ") for reason in cached["cached"])
    assert uncached["cached"] == ["cache.enabled is false"] * len(uncached["plan"]["phases"])
    assert [row["prediction"] for row in one] == [row["prediction"] for row in other]
    assert cached["metrics"]["test"]["loss"] == pytest.approx(uncached["metrics"]["test"]["loss"], abs=1e-3)
    for row, same in zip(first, second, strict=True):
        assert float(row["train/loss"]) == pytest.approx(float(same["train/loss"]), abs=1e-3)


def test_a_second_run_reads_the_cache_of_the_first(tmp_path: Path) -> None:
    first, _ = run(tmp_path, "freeze=linear_probe", "head.solver=null", "seed=0", "data.num_per_class=null")
    second, _ = run(
        tmp_path, "freeze=linear_probe", "head.solver=null", "seed=0", "optimizer.lr=0.01", "data.num_per_class=null"
    )
    assert len(list((tmp_path / "cache").iterdir())) == 3, "train, val and test, once each"
    assert second["cost"]["cache_seconds"] < first["cost"]["cache_seconds"]
    assert second["cost"]["seconds_saved"] > 0


def test_a_solved_head_beats_a_few_steps(tmp_path: Path) -> None:
    solved, folder = run(tmp_path, "freeze=linear_probe", "data.num_per_class=20")
    stepped, _ = run(tmp_path, "freeze=linear_probe", "data.num_per_class=20", "head.solver=null")
    assert solved["metrics"]["val"]["loss"] < stepped["metrics"]["val"]["loss"]
    assert [row["epoch"] for row in rows(folder / "metrics.csv")] == ["2"], "one row stands for the whole phase"


def test_controls_start_from_random_weights(tmp_path: Path) -> None:
    options = [
        "backbone=efficientnet_lite0",
        "backbone.name=efficientnet_lite0",
        "backbone.weights=pretrained",
        "epochs=1",
    ]
    random, _ = run(tmp_path, *options, "freeze=random_features")
    probe, _ = run(tmp_path, *options, "freeze=linear_probe")
    assert random["plan"]["pretrained"] is False and probe["plan"]["pretrained"] is True
    assert random["backbone"]["fingerprint"] != probe["backbone"]["fingerprint"]


def test_the_best_epoch_is_tested_not_the_last(tmp_path: Path) -> None:
    """After a rate that ruins the network in the second phase, the first phase's weights are tested."""
    config = make(tmp_path, "freeze=custom", "data.num_per_class=40", "optimizer=sgd")
    config.freeze["phases"] = [
        {"name": "head", "epochs": 1, "train": {"head": 1.0}},
        {"name": "ruin", "epochs": 2, "train": {"*": 100.0}},
    ]
    record, folder = finished(config)
    manifest = json.loads((folder / "checkpoints" / "manifest.json").read_text())
    best = next(row for row in manifest["saved"] if row["best"])
    assert record["best_epoch"] == best["epoch"] == 0
    assert abs(record["metrics"]["test"]["accuracy"] - record["metrics"]["val"]["accuracy"]) < 0.15


def test_checkpoints_hold_what_trains_and_no_more(tmp_path: Path) -> None:
    _, folder = run(tmp_path, "freeze=linear_probe", "head.solver=null", "epochs=1")
    (path,) = (folder / "checkpoints").glob("*.safetensors")
    names = {name.lstrip("0123456789") for name in load_file(path)}
    assert "/weights/head/linear.weight" in names
    assert not [name for name in names if name.startswith("/weights/backbone")]


def test_random_state_outside_of_training_changes_nothing(tmp_path: Path) -> None:
    """Dropout in the head draws from torch's generator: what draws between epochs must not matter."""
    first, _ = run(tmp_path / "a", "freeze=full", "head.dropout=0.5")
    torch.manual_seed(999)
    second, _ = run(tmp_path / "b", "freeze=full", "head.dropout=0.5")
    assert first["metrics"] == second["metrics"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("monitor=bleu", "monitor"),
        ("trainer.precision=8-mixed", "trainer.precision"),
        ("schedule.warmup=2", "schedule.warmup"),
        ("head=mlp head.solver=lbfgs", "head.solver"),
    ],
)
def test_mistakes_name_their_key(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(tmp_path, *override.split())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_run_comes_to_the_same_result(tmp_path: Path) -> None:
    compiled, _ = run(tmp_path / "a", "freeze=last_k", "backbone.compile=true", "epochs=2", network="test_vit")
    eager, _ = run(tmp_path / "b", "freeze=last_k", "epochs=2", network="test_vit")
    assert compiled["metrics"]["test"]["loss"] == pytest.approx(eager["metrics"]["test"]["loss"], abs=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        ["trainer.gradient_clip_val=0.5", "trainer.accumulate_grad_batches=2", "schedule=one_cycle"],
        ["trainer.precision=bf16-mixed", "freeze=last_k"],
        ["head=mlp", "optimizer=sgd", "schedule=linear"],
        ["head=cosine", "optimizer=torch", "optimizer.name=NAdam", "schedule=constant", "monitor=loss"],
        [
            "backbone.batch_norm=live",
            "augment=trivial",
            "data.views=null",
            "data.fraction=0.1",
            "data.num_per_class=null",
        ],
    ],
    ids=lambda options: options[0],
)
def test_the_other_choices_train(tmp_path: Path, options: list[str]) -> None:
    record, folder = run(tmp_path, "freeze=lp_ft", "epochs=4", *options)
    losses = [float(row["train/loss"]) for row in rows(folder / "metrics.csv")]
    assert record["status"] == "done" and losses[-1] < max(losses)


@pytest.mark.parametrize("network", ["test_resnet", "test_vit"])
def test_a_head_is_solved_in_single_precision_whatever_the_run_trains_in(tmp_path: Path, network: str) -> None:
    given = ["freeze=lp_ft", "trainer.precision=bf16-mixed", "epochs=2"]
    mixed, _ = run(tmp_path, *given, network=network)
    single, _ = run(tmp_path, "freeze=lp_ft", "epochs=2", network=network)
    assert mixed["status"] == "done" and mixed["id"] != single["id"]
    assert mixed["metrics"]["val"]["accuracy"] == pytest.approx(single["metrics"]["val"]["accuracy"], abs=0.1)


def test_the_depths_that_were_chosen_stand_in_the_record_and_stay_when_the_head_is_stepped(tmp_path: Path) -> None:
    record, _ = run(tmp_path, "freeze=linear_probe", "head=taps", "head.taps=auto")
    (note,) = [note for note in record["notes"] if note.startswith("head.taps=auto reads ")]
    assert "loss on samples left out" in note
    again, _ = run(tmp_path / "again", "freeze=linear_probe", "head=taps", "cache.enabled=false")
    assert note in again["notes"] and again["metrics"]["test"] == pytest.approx(record["metrics"]["test"], abs=1e-3)
    _, folder = run(tmp_path, "freeze=lp_ft", "head=taps", "epochs=3", "optimizer.lr=0.001")
    manifest = json.loads((folder / "checkpoints" / "manifest.json").read_text())
    states = [load_file(folder / "checkpoints" / saved["file"]) for saved in manifest["saved"]]
    factors = [value for state in states for name, value in state.items() if name.endswith("scaling.factors")]
    assert len(factors) == len(states) > 1 and all(torch.equal(factors[0], each) for each in factors)
