"""FSDP on two processors, which users are refused: the very numbers of DDP, and checkpoints that go both ways."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.plugins.precision import MixedPrecision
from tests.sequences import save_bert, write_texts
from torch import Tensor

from frostline.allow import allow, instantiate
from frostline.config import compose, plain
from frostline.errors import UserError
from frostline.files import write_json
from frostline.freeze.plan import Train
from frostline.leftovers import private_folder
from frostline.ranks import by_file, variables
from frostline.results.store import run_folder, run_id
from frostline.training.checkpoint import decode

TESTS = Path(__file__).parents[1]
SIZE, ALL, NO_LIMIT = 32, Train(), 1e12


@pytest.fixture
def on_processors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let configs name tests/processors.py."""
    monkeypatch.syspath_prepend(str(TESTS))
    allow(["processors"])
    yield
    allow([])


SHARDED = ("~trainer.strategy", "+trainer.strategy={_target_: processors.OnProcessors, unit_mb: 0.1}")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("sync_batchnorm", True, "trainer.sync_batchnorm"), ("precision", "16-mixed", "trainer.precision")],
)
def test_settings_that_do_not_go_with_sharding_are_refused(
    on_processors: None, key: str, value: Any, said: str
) -> None:
    config = plain(compose("run", ["trainer=ddp_cpu", *SHARDED, "trainer.devices=1"]))
    trainer: pl.Trainer = instantiate({**config["trainer"], key: value if key != "precision" else "32-true"}, "trainer")
    if key == "precision":  # on a processor Lightning would take bfloat16 in its place
        trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    with pytest.raises(UserError, match=said):
        trainer.strategy.setup_environment()
    with pytest.raises(UserError, match="unit_mb"):
        instantiate({"_target_": "processors.OnProcessors", "unit_mb": 0.0}, "trainer.strategy")


Make = Callable[..., Path]
BERT = ["backbone=transformers", "backbone.weights=pretrained"]
DIGITS = ["data=digits", f"data.size={SIZE}", "data.num_per_class=9"]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a maker of runs on two ranks, by DDP or sharded, that answers with their folders."""

    def folder_of(sharded: bool, *overrides: str, data: Sequence[str] = DIGITS, outputs: str = "outputs") -> Path:
        small = ["backbone=timm", "backbone.weights=none", "data.batch_size=16", "trainer=ddp_cpu"]
        small += ["+trainer.inference_mode=false", "launcher.threads=1", *data]
        chosen = [*small, *(SHARDED if sharded else ()), f"outputs={tmp_path / outputs}", *overrides]
        config = plain(compose("run", chosen))
        folder = run_folder(Path(config["outputs"]), run_id(config))
        folder.mkdir(parents=True)
        (folder / "resolved.yaml").write_text(yaml.safe_dump(config))
        return folder

    return folder_of


def train(runs: Sequence[tuple[Path, int | None, Path | None]], tmp_path: Path) -> None:
    """Train runs on two ranks, each until it is stopped, and from another's checkpoints."""
    listed = [{"folder": str(run), "stop": stop, "origin": origin and str(origin)} for run, stop, origin in runs]
    write_json(tmp_path / "runs.json", listed)
    with private_folder() as private:
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "processors", str(tmp_path / "runs.json")],
                env={
                    **os.environ,
                    **variables("test", rank, rank, 2, 2, 0, by_file(private)),
                    "FROSTLINE_ALLOW": "processors",
                    "PYTHONPATH": str(TESTS),
                },
            )
            for rank in range(2)
        ]
        assert [rank.wait(300) for rank in ranks] == [0, 0]


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) for name in ("train/loss", "val/loss")]


def last(folder: Path) -> dict[str, Any]:
    return decode(max((folder / "checkpoints").glob("*.safetensors")))


def same(one: Any, other: Any) -> bool:
    """Whether two nested states are equal to the bit."""
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.slow
def test_two_sharded_ranks_do_what_two_whole_ones_do(on_processors: None, make: Make, tmp_path: Path) -> None:
    """Bit-equal, but for what is summed in another order: a channels-last convolution, and the norm that is clipped."""
    texts = ["data=text_csv", f"data.root={write_texts(tmp_path / 'texts')}", "data.tokens=12"]
    cases = {
        "equal": ["backbone.name=test_vit", "+backbone.options={init_values: 0.1}"],
        "close": ["backbone.name=test_resnet", "cache.enabled=false", "trainer.gradient_clip_val=0.1"],
        "equal on texts": [*BERT, f"backbone.name={save_bert(tmp_path / 'bert')}", "epochs=6"],
    }
    runs = {
        name: [
            make(sharded, "freeze=gradual", "epochs=3", *case, data=texts if "texts" in name else DIGITS)
            for sharded in (False, True)
        ]
        for name, case in cases.items()
    }
    train([(folder, None, None) for pair in runs.values() for folder in pair], tmp_path)
    for name, (plain_run, sharded) in runs.items():
        records = [json.loads((folder / "record.json").read_text()) for folder in (plain_run, sharded)]
        assert [record["status"] for record in records] == ["done", "done"], records[1]["reason"]
        shares = json.loads((sharded / "shares.json").read_text())
        assert shares and max(shares) < 0.55, "a rank holds more than its half between steps"
        one, other = last(plain_run), last(sharded)
        if name == "close":
            assert losses(sharded) == pytest.approx(losses(plain_run), abs=1e-5)
        else:
            assert losses(plain_run) == losses(sharded)
            assert same(one["weights"], other["weights"])
            assert same(one["optimizer"], other["optimizer"])
            assert records[0]["metrics"] == records[1]["metrics"]
            assert (plain_run / "predictions.csv").read_text() == (sharded / "predictions.csv").read_text()


@pytest.mark.slow
def test_a_sharded_run_goes_on_from_any_checkpoint_and_any_run_from_its(
    on_processors: None, make: Make, tmp_path: Path
) -> None:
    case = ["backbone.name=test_vit", "freeze=full", "epochs=3", "optimizer=adamw", "judged=true"]
    once, begun, back = (make(True, *case, outputs=name) for name in ("once", "begun", "back"))
    whole_run, whole_begun = (make(False, *case, outputs=name) for name in ("whole", "whole-begun"))
    others = [(whole_run, None, begun), (whole_begun, 0, None), (back, None, whole_begun)]
    train([(once, None, None), (begun, 1, None), *others, (begun, None, None)], tmp_path)
    assert json.loads((begun / "record.json").read_text())["status"] == "done"
    for folder in (begun, whole_run, back):
        assert losses(folder) == losses(once)
        assert same(last(folder)["weights"], last(once)["weights"])
        assert same(last(folder)["optimizer"], last(once)["optimizer"])
