"""Loggers: what people already use gets the config, every epoch, scores, costs and the end, and cannot stop a run."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loggers import CSVLogger, Logger
from tests.configs import plain_run
from tests.extras import need

from frostline.config.schema import Run, find_conf_dir
from frostline.errors import UserError
from frostline.results.record import Record
from frostline.runs.experiment import run_experiment
from frostline.training.loggers import Loggers, find_numbers, make_loggers

RunOne = Callable[..., tuple[Record, Path]]
Configure = Callable[..., tuple[Run, Path]]
CutShort = Callable[[int], None]


# TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing import event_accumulator as accumulator

    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_every_epoch_the_scores_and_the_parameters(run: RunOne) -> None:
    need("tensorboard")
    record, folder = run("logger=tensorboard", "epochs=3")
    found = scalars(folder / "tensorboard")
    assert [step for step, _ in found["val/accuracy"]] == [0, 1, 2], "the phase that was solved has its row too"
    assert found["test/accuracy"] == [(2, pytest.approx(record.metrics["test"]["accuracy"]))]
    assert found["cost/forward_flops"][0][1] == pytest.approx(record.cost.forward_flops)
    text = (folder / "tensorboard" / "hparams.yaml").read_text()
    assert "optimizer.lr" in text and "freeze._target_" in text and "logger" not in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_that_goes_on_logs_no_epoch_twice(run: RunOne, cut_short: CutShort) -> None:
    need("tensorboard")
    cut_short(1)
    with pytest.raises(KeyboardInterrupt):
        run("logger=tensorboard")
    _, folder = run("logger=tensorboard")
    assert [step for step, _ in scalars(folder / "tensorboard")["val/accuracy"]] == [0, 1]


def test_a_logger_that_comes_late_gets_the_earlier_epochs(run: RunOne, cut_short: CutShort) -> None:
    cut_short(1)
    with pytest.raises(KeyboardInterrupt):
        run()
    _, folder = run("+logger._target_=pytorch_lightning.loggers.CSVLogger", "+logger.name=lightning")
    lines = (folder / "lightning" / "version_0" / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 + 1, "a title, two epochs, the end"


# several, none, and mistakes


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_several_loggers_each_have_a_name(tmp_path: Path, configure: Configure) -> None:
    need("tensorboard")
    own = tmp_path / "conf" / "logger" / "both.yaml"
    own.parent.mkdir(parents=True)
    table = {"_target_": "pytorch_lightning.loggers.CSVLogger", "name": "table", "version": "one"}
    own.write_text(json.dumps({"defaults": ["tensorboard@board", "_self_"], "table": table}))
    config, folder = configure("logger=both", config_dir=tmp_path / "conf")
    run_experiment(config, folder.name, folder)
    assert json.loads((folder / "loggers.json").read_text()) == {"board": "tensorboard", "table": "one"}
    assert "test/accuracy" in (folder / "table" / "one" / "metrics.csv").read_text()
    assert "test/accuracy" in scalars(folder / "tensorboard")


def test_without_a_logger_nothing_is_added(run: RunOne) -> None:
    _, folder = run("logger=csv")
    assert not (folder / "loggers.json").exists() and (folder / "metrics.csv").exists()


@pytest.mark.parametrize("path", sorted((find_conf_dir() / "logger").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_loggers_config_opens_with_its_command_and_names_its_extra(path: Path) -> None:
    first, second, *_ = path.read_text().splitlines()
    assert first.startswith("# frostline run logger=") and path.stem in first
    assert path.stem == "csv" or f"frostline[{path.stem}]" in second


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"board": 3}, r"logger\.board: 3 is invalid"),
        ({"board": {"name": "x"}}, r"logger\.board: .* is invalid"),
        ({"_target_": "pytorch_lightning.loggers.CSVLogger", "nam": "x"}, r"logger\.nam: there is no such key"),
        ({"a": {"_target_": "pytorch_lightning.loggers.CSVLogger", "nam": "x"}}, r"logger\.a\.nam"),
    ],
)
def test_mistakes_name_their_key(tmp_path: Path, node: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_loggers(plain_run(logger=node, outputs=str(tmp_path)), tmp_path)


@pytest.mark.parametrize(
    ("logger", "package"),
    [("MLFlowLogger", "mlflow"), ("WandbLogger", "wandb"), ("TensorBoardLogger", "tensorboard")],
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str, package: str
) -> None:
    for module in ("pytorch_lightning.loggers.mlflow._MLFLOW", "pytorch_lightning.loggers.wandb._WANDB"):
        monkeypatch.setattr(f"{module}_AVAILABLE", False)
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(f"lightning_fabric.loggers.tensorboard.{name}", False)
    node = {"_target_": f"pytorch_lightning.loggers.{logger}"}
    with pytest.raises(UserError, match=rf"logger: .*frostline\[{package}\]"):
        make_loggers(plain_run(logger=node, outputs=str(tmp_path)), tmp_path)


class Faulty(CSVLogger):
    """Fails at one of its calls."""

    def __init__(self, folder: Path, call: str):
        super().__init__(str(folder))
        self.calls: list[str] = []
        setattr(self, call, self.fail)

    def fail(self, *arguments: Any, **named: Any) -> None:
        self.calls.append("failed")
        raise ConnectionError("https://me:hunter2@example.org does not answer")


@pytest.mark.parametrize("call", ["log_hyperparams", "log_metrics", "save", "finalize"])
def test_a_logger_that_fails_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    faulty, sound = Faulty(tmp_path / "faulty", call), CSVLogger(str(tmp_path / "sound"))
    both: dict[str, Logger] = {"faulty": faulty, "sound": sound}
    loggers = Loggers(both, tmp_path, {})
    with caplog.at_level(logging.WARNING), loggers.following_run(plain_run(seed=0), []):
        loggers.log_row({"epoch": 0, "phase": "head", "val/loss": 1.0})
        loggers.log_row({"epoch": 1, "phase": "head", "val/loss": 0.5})
        loggers.end({"test/accuracy": 0.9}, 1)
    assert faulty.calls == ["failed"]
    (warning,) = [one.getMessage() for one in caplog.records if "left out" in one.getMessage()]
    assert "faulty" in warning and "ConnectionError" in warning and "hunter2" not in warning
    assert len((Path(sound.log_dir) / "metrics.csv").read_text().splitlines()) == 4


def test_only_finite_numbers_are_drawn() -> None:
    row = {"epoch": 3, "phase": "head", "val/auroc": float("nan"), "val/loss": 1, "lr/head": 0.1, "x": float("inf")}
    assert find_numbers(row) == {"val/loss": 1.0, "lr/head": 0.1}
