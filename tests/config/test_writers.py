"""Loggers write into the run's folder, to the output folder's database or to a server: nowhere else a file may say."""

from pathlib import Path
from typing import Any

import pytest
from tests.configs import plain_run

from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.training.loggers import make_loggers

LOGGERS = "pytorch_lightning.loggers"


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("CSVLogger", "save_dir", "x"),
        ("CSVLogger", "name", "../../x"),
        ("CSVLogger", "version", "/somewhere/x"),
        ("TensorBoardLogger", "save_dir", "x"),
        ("TensorBoardLogger", "name", "/somewhere/x"),
        ("TensorBoardLogger", "sub_dir", "../x"),
        ("TensorBoardLogger", "log_dir", "x"),
        ("TensorBoardLogger", "filename_suffix", "/../../x"),
        ("MLFlowLogger", "save_dir", "x"),
        ("MLFlowLogger", "artifact_location", "x"),
        ("MLFlowLogger", "tracking_uri", "x"),
        ("MLFlowLogger", "tracking_uri", "file:///somewhere/x"),
        ("MLFlowLogger", "tracking_uri", "sqlite:////somewhere/x.db"),
        ("MLFlowLogger", "tracking_uri", "sqlite:///outputs/../x.db"),
        ("WandbLogger", "save_dir", "x"),
        ("WandbLogger", "dir", "x"),
        ("WandbLogger", "sync_tensorboard", True),
        ("WandbLogger", "settings.root_dir", "x"),
        ("WandbLogger", "settings.x_executable", "/bin/true"),
        ("CometLogger", "offline_directory", "x"),
    ],
)
@pytest.mark.parametrize("name", ["", ".mine"])
def test_a_place_elsewhere_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, key: str, value: object, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    inner: Any = value
    for part in reversed(key.split(".")):
        inner = {part: inner}
    node: dict[str, Any] = {"_target_": f"{LOGGERS}.{kind}", **inner}
    overrides = [f"++logger{name}.{place}={one}" for place, one in (("_target_", node["_target_"]), (key, repr(value)))]
    with pytest.raises(UserError, match=rf"^logger{name}\.{key}: "):
        resolve(compose("run", overrides))
    whole = {"mine": node} if name else node
    with pytest.raises(UserError, match=rf"^logger{name}\.{key}: "):  # in a worker, or from a stranger's record
        make_loggers(plain_run(logger=whole, outputs="outputs", force=True), tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "overrides",
    [
        ["logger=tensorboard"],
        ["logger=wandb", "+logger.tags=[a]", "+logger.notes=x", "+logger.settings.base_url=https://host"],
        ["logger=mlflow", "logger.tracking_uri='http://host:5000'"],
        ["logger=mlflow", "logger.tracking_uri='sqlite:///outputs/mine.db'"],
        ["logger=mlflow", "logger.tracking_uri=databricks"],
        ["+logger._target_=pytorch_lightning.loggers.CSVLogger", "+logger.name=a/b", "+logger.version=3"],
    ],
)
def test_what_stays_there_is_taken(overrides: list[str]) -> None:
    resolve(compose("run", overrides))
