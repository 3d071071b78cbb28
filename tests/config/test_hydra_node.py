"""Hydra's own node is held to one rule, whichever command it is given to and whatever file sets it."""

from pathlib import Path

import pytest

import frostline.commands.compare
import frostline.commands.run
import frostline.commands.tune
from frostline.commands import main
from frostline.config.compose import compose, list_single_choices
from frostline.errors import UserError

BODIES = {
    "hydra.output_subdir": "hydra: {output_subdir: ../victim}",
    "hydra.sweep.subdir": "hydra: {sweep: {subdir: ../../victim}}",
    "hydra.sweep.dir": "hydra: {sweep: {dir: ../victim}}",
    "hydra.run.dir": "hydra: {run: {dir: ../victim}}",
    "hydra.job.name": "hydra: {job: {name: ../victim}}",
    "hydra.job.chdir": "hydra: {job: {chdir: true}}",
    "hydra.job.env_copy": "hydra: {job: {env_copy: [HOME]}}",
    "hydra.job.env_set.FROSTLINE_ALLOW": "hydra: {job: {env_set: {FROSTLINE_ALLOW: os}}}",
    "hydra.job.config.override_dirname.kv_sep": "hydra: {job: {config: {override_dirname: {kv_sep: /}}}}",
    "hydra.searchpath": "hydra: {searchpath: ['pkg://other']}",
    "hydra.callbacks.x._target_": "hydra: {callbacks: {x: {_target_: os.system, command: touch ../victim/x}}}",
    "hydra.job_logging.handlers.f.class": "hydra: {job_logging: {handlers: {f: {class: logging.FileHandler}}}}",
    "hydra.hydra_logging.formatters.f.()": "hydra: {hydra_logging: {formatters: {f: {'()': os.getcwd}}}}",
    "hydra.launcher.temp_folder": "hydra: {launcher: {temp_folder: ../victim}}",
    "hydra.launcher._target_": "hydra: {launcher: {_target_: os.system}}",
    "hydra.sweeper.storage": "hydra: {sweeper: {storage: 'sqlite:///x.db'}}",
    "hydra.sweeper.params.seed": "hydra: {sweeper: {params: {seed: '1,2'}}}",
    "hydra.verbose": "hydra: {verbose: true}",
    "hydra.help.template": "hydra: {help: {template: x}}",
    "hydra.hydra_help.template": "hydra: {hydra_help: {template: x}}",
    "hydra.mode": "hydra: {mode: MULTIRUN}",
    "hydra.env.x": "hydra: {env: {x: y}}",
    "hydra.runtime.output_dir": "hydra: {runtime: {output_dir: ../victim}}",
    "hydra.overrides": "hydra: {overrides: {hydra: ['hydra.output_subdir=../victim']}}",
    "": "hydra: null",
}
COMMANDS = {
    "run": ["run", "experiment=evil"],
    "sweep": ["run", "-m", "experiment=good,evil", "seed=1"],
    "compare": ["compare", "experiment=evil"],
    "tune": ["tune", "experiment=evil", "tune.space={optimizer.lr: [0.1, 0.2]}"],
}


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a run was started")

    for name in ("work/mine/experiment", "victim"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(frostline.commands.run, "make_launcher", refuse)
    monkeypatch.setattr(frostline.commands.run, "hand_over", refuse)
    monkeypatch.setattr(frostline.commands.compare, "run_comparison", refuse)
    monkeypatch.setattr(frostline.commands.tune, "run_study", refuse)
    return tmp_path


def write(name: str, body: str) -> None:
    (Path("mine") / name).parent.mkdir(exist_ok=True)
    (Path("mine") / name).write_text(f"# @package _global_\n{body}\n")


@pytest.mark.parametrize("key", BODIES)
def test_a_file_may_say_nothing_that_is_hydras(key: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write("experiment/good.yaml", "epochs: 2")
    write("experiment/evil.yaml", BODIES[key])
    ways = COMMANDS if key in ("hydra.output_subdir", "hydra.sweep.subdir", "hydra.searchpath") else ("run", "sweep")
    for way in ways:
        command, *words = COMMANDS[way]
        assert main([command, "--config-dir", "mine", *words]) == 2
        said = capsys.readouterr().err
        assert key in said and said.startswith("frostline: ") and said.count("\n") == 1, said
    assert not list((tmp_path / "victim").iterdir()) and not (tmp_path / "work" / "outputs").exists()


def test_a_sweep_is_looked_at_in_every_combination(capsys: pytest.CaptureFixture[str]) -> None:
    """The hostile file comes in only with data that name it and an experiment that names no other."""
    write("experiment/good.yaml", "defaults: [override /augment: trivial]")
    write("experiment/plain.yaml", "epochs: 2")
    write("augment/hostile.yaml", "hydra: {job: {chdir: true}}\naugment: {_target_: frostline.data.image.augment.none}")
    write("data/evil.yaml", "defaults: [/data/digits@data, _self_, override /augment: hostile]")
    sweep = ["run", "--config-dir", "mine", "-m", "data=digits,evil", "experiment=good,plain"]
    assert main(sweep) == 2
    assert "hydra.job.chdir" in capsys.readouterr().err
    too_many = [f"{group}=glob(*)" for group in ("data", "backbone", "freeze", "optimizer", "head")]
    with pytest.raises(UserError, match="more than 10,000 combinations"):
        list_single_choices(too_many, Path("mine"))


@pytest.mark.parametrize(
    "override", ["hydra.sweep.subdir=a,b", "hydra/launcher=pool,basic", "hydra.launcher.n_jobs=1,2"]
)
def test_hydras_own_keys_cannot_be_swept(override: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-m", override]) == 2
    assert override.partition("=")[0] in capsys.readouterr().err


def test_the_address_of_a_cluster_stands_on_the_command_line() -> None:
    """Ray unpickles what a cluster answers."""
    write("experiment/evil.yaml", "defaults: [override /launcher: ray]\nlauncher: {address: 'ray://elsewhere:10001'}")
    with pytest.raises(UserError, match="launcher.address: a file names no cluster"):
        compose("run", ["experiment=evil"], Path("mine"))
    own = ["experiment=evil", "launcher.address=ray://here:10001"]
    assert compose("run", own, Path("mine")).launcher.address == "ray://here:10001"


def test_what_people_need_of_hydra_is_left_to_them() -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    node = compose("run", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.max_batch_size=4"]).hydra
    assert node.launcher.n_jobs == 2 and node.sweeper.max_batch_size == 4
    assert compose("run", ["hydra/launcher=basic"]).hydra.launcher._target_.endswith("BasicLauncher")
    with pytest.raises(UserError, match="hydra.launcher.temp_folder"):
        compose("run", ["hydra/launcher=joblib", "hydra.launcher.temp_folder=x"])
