"""Runs in mixed precision: every family of networks, kind of strategy and task, and what is made of a run later."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.configs import make
from tests.data.sounds import folders
from tests.finished_runs import finished, rows
from tests.sequences import save_bert, write_texts
from tests.test_speech import spellings
from torch import Tensor

from frostline.commands import main
from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.tasks.base import Task

DIGITS = ["data=digits", "data.size=32", "data.num_per_class=5", "backbone=timm", "backbone.weights=none"]


def texts(folder: Path) -> list[str]:
    data = ["data=text_csv", f"data.root={write_texts(folder / 'texts')}", "data.tokens=12"]
    return [*data, "backbone=transformers", f"backbone.name={save_bert(folder / 'bert')}"]


def sounds(folder: Path) -> list[str]:
    data = ["data=audiofolder", f"data.root={folders(folder / 'sounds')}", "data.seconds=0.3"]
    return [*data, "backbone=voice_encoder", "backbone.weights=none"]


FAMILIES: dict[str, Callable[[Path], list[str]]] = {
    "convolutions": lambda folder: [*DIGITS, "backbone.name=test_resnet"],
    "image transformer": lambda folder: [*DIGITS, "backbone.name=test_vit"],
    "texts": texts,
    "sounds": sounds,
}
STRATEGIES = {
    "solved": ["freeze=linear_probe"],
    "last_k": ["freeze=last_k"],
    "full, uncached": ["freeze=full", "cache.enabled=false"],
}
MORE = {
    "stepped": ["freeze=linear_probe", "head.solver=null"],
    "solved, then all": ["freeze=lp_ft"],
    "gradual": ["freeze=gradual", "epochs=4"],
    "biases": ["freeze=bias_only"],
    "scratch": ["freeze=scratch"],
}


def run(folder: Path, precision: str, *overrides: str) -> tuple[dict[str, Any], Path]:
    common = ["trainer.accelerator=cpu", "epochs=2", "augment=none", f"outputs={folder / precision}"]
    return finished(resolve(compose("run", [*common, f"trainer.precision={precision}", *overrides])))


def check_alike(folder: Path, *overrides: str) -> None:
    """In bfloat16, which has 8 bits, a run ends about where it does in single precision."""
    (single, _), (mixed, _) = (run(folder, precision, *overrides) for precision in ("32-true", "bf16-mixed"))
    assert mixed["similarity"].keys() == single["similarity"].keys()
    assert all(0 <= value <= 1.001 for value in mixed["similarity"].values())
    for split in ("train", "val", "test"):
        loss = mixed["metrics"][split]["loss"]
        assert math.isfinite(loss) and loss == pytest.approx(single["metrics"][split]["loss"], rel=0.15), split


@pytest.mark.parametrize("strategy", [*STRATEGIES, *(pytest.param(one, marks=pytest.mark.slow) for one in MORE)])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_strategy_on_each_family(family: str, strategy: str, tmp_path: Path) -> None:
    check_alike(tmp_path, *FAMILIES[family](tmp_path), *(STRATEGIES | MORE)[strategy])


@pytest.mark.parametrize(
    "options",
    [
        ["task=regression", "freeze=lp_ft"],
        ["task=regression", "task.loss=huber", "head.solver=null", "freeze=last_k"],
        ["task=multilabel", "task.class_weights=balanced", "freeze=lp_ft"],
        ["task=multiclass", "task.class_weights=balanced", "head=cosine", "freeze=last_k"],
    ],
    ids=" ".join,
)
def test_each_task(options: list[str], tmp_path: Path) -> None:
    few = ["data.num_per_class=null", "data.fraction=0.06"]
    check_alike(tmp_path, *DIGITS, "backbone.name=test_resnet", *few, *options)


@pytest.mark.parametrize("freeze", ["linear_probe", "full"])
def test_transcripts(freeze: str, tmp_path: Path) -> None:
    table = spellings(tmp_path / "data", 30)
    data = ["data=audiofolder", f"data.manifest={table}", "data.label_column=text", "data.seconds=0.8"]
    network = ["backbone=voice_encoder", "backbone.weights=none", "head=ctc", "data.batch_size=8"]
    check_alike(tmp_path, *data, *network, f"freeze={freeze}")


def test_an_adapter_that_is_aligned(tmp_path: Path) -> None:
    network = ["backbone=transformers", f"backbone.name={save_bert(tmp_path / 'bert')}"]
    digits = ["data=digits", "data.size=8", "data.num_per_class=5", "adapter=patches", "adapter.patch=4"]
    check_alike(tmp_path, *network, *digits, "freeze=orca", "epochs=4")


def test_a_run_in_mixed_precision_predicts_what_it_said_and_is_exported(tmp_path: Path, capsys: Any) -> None:
    data = ["data=text_csv", f"data.root={write_texts(tmp_path / 'texts')}", "data.tokens=12"]
    network = ["backbone=transformers", f"backbone.name={save_bert(tmp_path / 'bert')}"]
    _, folder = run(tmp_path, "bf16-mixed", *data, *network, "freeze=lp_ft")
    assert main(["predict", str(folder), str(tmp_path / "texts" / "test.csv"), "--output", str(tmp_path / "out")]) == 0
    said, own = rows(tmp_path / "out"), rows(folder / "predictions.csv")
    assert len(said) == len(own) > 0
    for one, other in zip(said, own, strict=True):
        assert float(one["p(a)"]) == pytest.approx(float(other["p(a)"]), abs=0.02)
    assert main(["export", str(folder), "--format", "torch", "--output", str(tmp_path / "exported")]) == 0


@pytest.mark.parametrize(
    ("task", "labels", "width"),
    [
        (make("task/regression"), torch.tensor([1.0, 2.5, 3.1, 9.7], dtype=torch.float64), 1),
        (make("task/multiclass", class_weights=[1.0, 2.2, 3.3], label_smoothing=0.0), torch.tensor([0, 1, 2, 2]), 3),
        (
            make("task/multilabel", class_weights=[1.1, 2.2, 3.3]),
            torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 1]]),
            3,
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_targets_and_weights_keep_their_digits(task: Task, labels: Tensor, width: int) -> None:
    """What a head gives in half precision is compared with what the labels are, not with that rounded as well."""
    task.fit(labels, ["a", "b", "c"][:width])
    outputs = torch.randn(4, width, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(task.loss(outputs, labels), task.loss(outputs.float(), labels))


@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
def test_what_only_a_gpu_can_is_refused_on_processors(tmp_path: Path) -> None:
    """Lightning would take bfloat16 in its place, and a record would say what is not so."""
    with pytest.raises(UserError, match=r"^trainer\.precision: 16-mixed takes a GPU; use bf16-mixed or 32-true"):
        run(tmp_path, "16-mixed", *DIGITS, "backbone.name=test_resnet")
