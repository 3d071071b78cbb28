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

from frostline.config.allow import allow, instantiate
from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.files.atomic import write_json
from frostline.files.leftovers import private_folder
from frostline.freeze.plan import Train
from frostline.ranks.place import meet_by_file, rank_variables
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


def test_settings_that_do_not_go_with_sharding_are_refused(on_processors: None) -> None:
    config = resolve(compose("run", ["trainer=ddp_cpu", *SHARDED, "trainer.devices=1", "~trainer.matmul_precision"]))
    trainer: pl.Trainer = instantiate(config.trainer, "trainer")
    # on a processor Lightning would take bfloat16 in its place
    trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    with pytest.raises(UserError, match="trainer.precision"):
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
        config = resolve(compose("run", chosen))
        folder = run_folder(Path(config.outputs), run_id(config))
        folder.mkdir(parents=True)
        (folder / "resolved.yaml").write_text(yaml.safe_dump(config.plain()))
        return folder

    return folder_of


def run(folder: Path, stop: int | None = None, halt: int | None = None, origin: Path | None = None) -> dict[str, Any]:
    """What a rank of tests/processors.py is to do."""
    return {"folder": str(folder), "stop": stop, "halt": halt, "origin": origin and str(origin)}


def train(runs: Sequence[dict[str, Any]], tmp_path: Path) -> None:
    """Train runs on two ranks, each until it is stopped, and from another's checkpoints."""
    write_json(tmp_path / "runs.json", runs)
    with private_folder() as private:
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "processors", str(tmp_path / "runs.json")],
                env={
                    **os.environ,
                    **rank_variables("test", rank, rank, 2, 2, 0, meet_by_file(private)),
                    "FROSTLINE_ALLOW": "processors",
                    "PYTHONPATH": str(TESTS),
                },
            )
            for rank in range(2)
        ]
        assert [rank.wait(300) for rank in ranks] == [0, 0]


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row[name]) for row in rows for name in ("train/loss", "val/loss") if row[name]]


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
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_two_sharded_ranks_do_what_two_whole_ones_do(
    on_processors: None, make: Make, tmp_path: Path, precision: str
) -> None:
    """Bit-equal, but for what is summed in another order: a channels-last convolution, and the norm that is clipped."""
    bert = [*BERT, f"backbone.name={save_bert(tmp_path / 'bert')}"]
    texts = ["data=text_csv", f"data.root={write_texts(tmp_path / 'texts')}", "data.tokens=12"]
    cases = {
        "equal": ["backbone.name=test_vit", "+backbone.options={init_values: 0.1}"],
        "close": ["backbone.name=test_resnet", "cache.enabled=false", "trainer.gradient_clip_val=0.1"],
        "equal where units are inside others": ["backbone.name=test_convnext", "freeze=full", "epochs=2"],
        "equal on texts": [*bert, "epochs=6"],
        "equal behind an adapter": [*bert, "adapter=patches", "data.size=8", "freeze=orca", "epochs=5"],
    }
    runs = {
        name: [
            make(
                sharded,
                f"trainer.precision={precision}",
                "freeze=gradual",
                "epochs=3",
                *case,
                data=texts if "texts" in name else DIGITS,
            )
            for sharded in (False, True)
        ]
        for name, case in cases.items()
    }
    train([run(folder) for pair in runs.values() for folder in pair], tmp_path)
    for name, (plain_run, sharded) in runs.items():
        records = [json.loads((folder / "record.json").read_text()) for folder in (plain_run, sharded)]
        assert [record["status"] for record in records] == ["done", "done"], records[1]["reason"]
        shares = json.loads((sharded / "shares.json").read_text())
        assert shares and max(shares) < 0.55, "a rank holds more than its half between steps"
        check_gathered(json.loads((sharded / "gathered.json").read_text()), precision, small=bert[0] in cases[name])
        one, other = last(plain_run), last(sharded)
        if name == "close":
            assert losses(sharded) == pytest.approx(losses(plain_run), abs=1e-5 if precision == "32-true" else 1e-3)
        else:
            assert losses(plain_run) == losses(sharded)
            assert same(one["weights"], other["weights"])
            assert same(one["optimizer"], other["optimizer"])
            assert records[0]["metrics"] == records[1]["metrics"]
            assert (plain_run / "predictions.csv").read_text() == (sharded / "predictions.csv").read_text()


def check_gathered(gathered: dict[str, int], precision: str, small: bool) -> None:
    """Assert in which precision weights were gathered; a ``small`` network's embeddings and norms are a good part."""
    if precision == "32-true":
        assert gathered.keys() == {"float32"}
    else:
        assert gathered.keys() == {"float32", "bfloat16"}
        assert gathered["float32"] < (1.0 if small else 0.03) * gathered["bfloat16"]


@pytest.mark.slow
def test_a_sharded_run_goes_on_from_any_checkpoint_and_any_run_from_its(
    on_processors: None, make: Make, tmp_path: Path
) -> None:
    case = ["backbone.name=test_vit", "freeze=full", "epochs=3", "optimizer=adamw", "judged=true"]
    once, begun, back = (make(True, *case, outputs=name) for name in ("once", "begun", "back"))
    whole_run, whole_begun = (make(False, *case, outputs=name) for name in ("whole", "whole-begun"))
    others = [run(whole_run, origin=begun), run(whole_begun, stop=0), run(back, origin=whole_begun)]
    train([run(once), run(begun, stop=1), *others, run(begun)], tmp_path)
    assert json.loads((begun / "record.json").read_text())["status"] == "done"
    for folder in (begun, whole_run, back):
        assert losses(folder) == losses(once)
        assert same(last(folder)["weights"], last(once)["weights"])
        assert same(last(folder)["optimizer"], last(once)["optimizer"])


@pytest.mark.slow
def test_a_sharded_run_stopped_within_an_epoch_goes_on_after_its_last_step(
    on_processors: None, make: Make, tmp_path: Path
) -> None:
    """To the bit; so does a run of whole networks from a sharded one's pause, and the other way round."""
    case = ["backbone.name=test_vit", "freeze=full", "epochs=3", "optimizer=adamw"]
    once, halted, back = (make(True, *case, outputs=name) for name in ("once", "halted", "back"))
    whole_run, whole_halted = (make(False, *case, outputs=name) for name in ("whole", "whole-halted"))
    train([run(once), run(halted, halt=9), run(whole_halted, halt=9)], tmp_path)
    for folder in (halted, whole_halted):
        pause = decode(folder / "checkpoints" / "pause.safetensors")
        assert (pause["progress"]["epoch"], pause["pause"]["steps"]) == (1, 3)
    train([run(whole_run, origin=halted), run(back, origin=whole_halted), run(halted)], tmp_path)
    for folder in (halted, whole_run, back):
        assert json.loads((folder / "record.json").read_text())["status"] == "done"
        assert losses(folder) == losses(once)
        assert same(last(folder)["weights"], last(once)["weights"])
        assert same(last(folder)["optimizer"], last(once)["optimizer"])
