"""Switches of Lightning's Trainer: each is honoured, or refused by name before anything runs."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning import callbacks
from tests.finished_runs import finished, rows

from frostline.commands import main
from frostline.config.compose import compose, resolve
from frostline.config.switches import CALLBACKS, HONOURED, REFUSED, check_switches
from frostline.errors import UserError

DEFAULTS = {
    name: one.default for name, one in inspect.signature(pl.Trainer.__init__).parameters.items() if name != "self"
}
HARMLESS = {"Callback", "EarlyStopping", "GradientAccumulationScheduler", "RichProgressBar", "TQDMProgressBar"}
OURS = {"use_distributed_sampler"}  # whose default is not what a run does
CUT = [
    "fast_dev_run=true",
    "max_epochs=3",
    "min_epochs=3",
    "max_steps=3",
    "min_steps=3",
    "max_time='00:00:00:01'",
    "limit_train_batches=0.5",
    "limit_train_batches=1",
    "limit_val_batches=0",
    "limit_val_batches=0.0",
    "limit_test_batches=0",
    "limit_predict_batches=0",
    "overfit_batches=1",
    "val_check_interval=0.5",
    "val_check_interval=1",
    "check_val_every_n_epoch=2",
    "check_val_every_n_epoch=null",
    "num_sanity_val_steps=2",
    "log_every_n_steps=1",
    "logger=true",
    "enable_checkpointing=true",
    "enable_model_summary=true",
    "use_distributed_sampler=true",
    "barebones=true",
    "plugins=[]",
    "reload_dataloaders_every_n_epochs=1",
    "default_root_dir=elsewhere",
    "model_registry=x",
]
ILL_TYPED = [
    "strategy=ddp_spawn",
    "strategy=deepspeed",
    "profiler=pytorch",
    "detect_anomaly=x",
    "inference_mode=1",
    "deterministic=often",
    "gradient_clip_algorithm=nosuch",
    "callbacks=early_stopping",
    "accelerator=3",
    "accelerator=tpu",
    "matmul_precision=low",
    "matmul_precision=null",
    "benchmark=often",
    "profiler={_target_: pytorch_lightning.profilers.SimpleProfiler, dirpath: elsewhere}",
    "strategy={_target_: pytorch_lightning.strategies.FSDPStrategy}",
    "strategy={_target_: pytorch_lightning.strategies.DDPStrategy, start_method: spawn}",
]
SMALL = ["data.num_per_class=5", "data.size=32", "epochs=2", "trainer.accelerator=cpu", "backbone.weights=none"]


def test_every_argument_of_the_trainer_is_honoured_or_refused() -> None:
    """A new version of Lightning that has another argument is noticed here."""
    assert set(DEFAULTS) | {"matmul_precision"} == set(HONOURED) | set(REFUSED)
    assert not set(HONOURED) & set(REFUSED)
    assert set(callbacks.__all__) <= set(CALLBACKS) | HARMLESS


@pytest.mark.parametrize("name", sorted(set(REFUSED) - OURS))
def test_the_default_of_what_is_refused_changes_nothing(name: str) -> None:
    check_switches({name: DEFAULTS[name]})


@pytest.mark.parametrize("command", ["run", "compare", "tune"])
@pytest.mark.parametrize("switch", CUT)
def test_a_switch_that_cannot_be_honoured_is_refused_before_anything_runs(
    command: str,
    switch: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Promise 45."""
    monkeypatch.chdir(tmp_path)
    name = switch.partition("=")[0]
    space = ["+tune.space.optimizer.lr=[0.1,0.01]"] if command == "tune" else []
    assert main([command, f"+trainer.{switch}", *space]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(f"frostline: trainer.{name}: ") and shown.err.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("switch", ILL_TYPED)
def test_what_is_honoured_takes_what_it_takes(switch: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"++trainer.{switch}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"frostline: trainer.{switch.partition('=')[0]}") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "choices"),
    [
        ("accelerator", ("auto", "cpu", "gpu", "cuda", "mps")),
        ("matmul_precision", ("highest", "high", "medium")),
        ("deterministic", (True, False, "warn", None)),
        ("benchmark", (True, False, None)),
    ],
)
def test_a_wrong_choice_is_told_the_right_ones(key: str, choices: tuple[Any, ...]) -> None:
    for choice in choices:
        check_switches({key: choice})
    with pytest.raises(UserError) as refused:
        check_switches({key: "nonsense"})
    words = str(refused.value)
    assert words.startswith(f"trainer.{key}: 'nonsense' is invalid: expected ")
    assert all(choice in words for choice in choices if isinstance(choice, str))
    with pytest.raises(UserError, match=r"^trainer\.benchmark: .* not with trainer\.deterministic\.$"):
        check_switches({"benchmark": True, "deterministic": True})


@pytest.mark.parametrize("name", sorted(CALLBACKS))
@pytest.mark.parametrize("listed", [True, False])
def test_a_callback_that_takes_over_is_refused(name: str, listed: bool) -> None:
    node: Any = {"_target_": f"pytorch_lightning.callbacks.{name}"}
    with pytest.raises(UserError, match=rf"^trainer\.callbacks.*{name}"):
        check_switches({"callbacks": [node] if listed else node})


def test_what_is_honoured_is_honoured(tmp_path: Path) -> None:
    """Through both phases, and without a terminal, where no bar is shown."""
    bar = "{_target_: pytorch_lightning.callbacks.TQDMProgressBar}"
    given = ["+trainer.profiler=simple", f"+trainer.callbacks=[{bar}]", "+trainer.detect_anomaly=true"]
    network = ["backbone=timm", "backbone.name=test_resnet", "freeze=lp_ft", "head.solver=null", "data.batch_size=25"]
    record, folder = finished(resolve(compose("run", [*SMALL, *network, *given, f"outputs={tmp_path}"])))
    assert record["status"] == "done" and len(rows(folder / "metrics.csv")) == 2
