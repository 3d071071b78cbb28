"""A user's mistake ends with exit code 2 and one message that names the key, before anything runs."""

from pathlib import Path

import pytest

import frostline.commands.compare
import frostline.commands.run
from frostline.commands import main

CANARY = "canary"


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a run was started")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frostline.commands.run, "make_launcher", refuse)
    monkeypatch.setattr(frostline.commands.compare, "run_comparison", refuse)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one message of a refused command."""
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "Traceback" not in shown.err
    assert shown.err.startswith("frostline: ") and shown.err.count("\n") == 1
    return shown.err


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["epoch=3"], ["epoch:", "are: epochs, "]),
        (["data.siz=3"], ["data.siz:", "keys of data are: size"]),
        (["+nosuch=3"], ["nosuch:", "seed"]),
        (["freeze=lpft"], ["freeze:", "'lpft'", "one of: lp_ft", "gradual"]),
        (["data=mnist"], ["data:", "'mnist'", "mnist5k"]),
        (["epochs=abc"], ["epochs:", "'abc'"]),
        (["epochs=0"], ["epochs: 0", "from 1 to 1,000,000"]),
        (["seed=x"], ["seed:", "'x'"]),
        (["seed=-1"], ["seed: -1", "0 or more"]),
        (["cache.max_gb=-1"], ["cache.max_gb: -1"]),
        (["data.batch_size=0"], ["data.batch_size: 0"]),
        (["force=perhaps"], ["force:", "'perhaps'"]),
        (["optimizer=torch"], ["optimizer.name:", "a value is needed"]),
        (["cache=3"], ["cache:", "3"]),
        (["~optimizer"], ["optimizer:"]),
        (["monitor=f2"], ["monitor:", "'f2'", "f1"]),
        (["data.size=${nope}"], ["data.size:", "nope"]),
        (["data.root=a=b"], ["'data.root=a=b'", "quote"]),
        (["seed"], ["'seed'", "KEY=VALUE"]),
        (["seed=1,2"], ["seed=1,2", "--multirun"]),
        (["-m", "freeze=full,nosuch"], ["freeze:", "'nosuch'"]),
        (["-m", "freeze=glob(zz*)"], ["freeze:", "glob(zz*)"]),
        (["experiment=demo"], ["demo.yaml", "frostline compare"]),
        (["--config-dir", "nowhere"], ["--config-dir", "nowhere"]),
        (["hydra.searchpath=[pkg://evil]"], ["hydra.searchpath"]),
        (["-m", "hydra.sweep.dir=x"], ["hydra.sweep.dir"]),
        (["hydra/launcher=nosuch"], ["hydra/launcher", "basic"]),
        (["data=3"], ["data:", "3", "digits"]),
        (["experiment=null"], ["experiment:", "demo"]),
        (["hydra.job.chdir=true"], ["hydra.job.chdir"]),
        (["hydra/job_logging=default"], ["hydra.job_logging"]),
        (["+hydra.job.env_set.FROSTLINE_ALLOW=os"], ["hydra.job.env_set"]),
        (["hydra.sweeper.params={freeze: 'full,lp_ft'}"], ["hydra.sweeper.params"]),
        (["data._target_=os.system"], ["data._target_", "os.system", "--allow"]),
        (["hydra.launcher._target_=os.system"], ["hydra.launcher._target_", "os.system"]),
        (["hydra.sweeper._target_=hydra.utils.get_method"], ["hydra.sweeper._target_"]),
        (["+hydra.launcher.x._target_=joblib.load"], ["hydra.launcher.x._target_"]),
        (
            ["hydra.launcher._target_=hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"],
            ["hydra.launcher._target_", "launcher=slurm"],
        ),
        (["+hydra.callbacks.x._target_=os.system"], ["hydra.callbacks.x._target_"]),
        (["+hydra.callbacks.x._target_=hydra.experimental.callbacks.PickleJobInfoCallback"], ["hydra.callbacks.x"]),
        (["--allow", "a/b"], ["--allow", "'a/b'"]),
    ],
)
def test_run_names_the_key(overrides: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    message = said(capsys, "run", *overrides)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["compare.strategies=[full, nosuch]"], ["freeze:", "'nosuch'"]),
        (["compare.strategies=[{last_k: {kk: 2}}]"], ["freeze.kk", "k"]),
        (["compare.strategies=[{last_k: 2}]"], ["compare.strategies", "last_k"]),
        (["compare.strategies=[full, full]"], ["same run"]),
        (["compare.strategies=[last_k, {last_k: {k: 1}}]"], ["same run", "last_k(k=1)"]),
        (["compare.strategies=[]"], ["compare.strategies", "empty"]),
        (["compare.seeds=[]"], ["compare.seeds", "empty"]),
        (["compare.seeds=[0, x]"], ["compare.seeds", "'x'"]),
        (["compare.seeds=[-1]"], ["compare.seeds[0]: -1"]),
        (["compare.name=../up"], ["compare.name"]),
        (["freeze=full"], ["freeze:", "compare.strategies"]),
        (["seed=3"], ["seed:", "compare.seeds"]),
        (["task=multiclass,regression"], ["task:", "scores of different tasks cannot be compared"]),
        (["compare.names=x"], ["compare.names", "name"]),
    ],
)
def test_compare_checks_every_run_first(
    overrides: list[str], words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = said(capsys, "compare", *overrides)
    assert all(word in message for word in words), message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["report", "nowhere"], ["cache", "prune", "--max-gb", "-1"]], ids=lambda one: one[0]
)
def test_other_commands_refuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, *arguments)


@pytest.mark.parametrize("flag", ["--config-name", "--config-path", "--experimental-rerun", "--experimental-rer"])
def test_hydras_other_flags_are_refused(flag: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.pickle").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    with pytest.raises(SystemExit) as ended:
        main(["run", flag, "x.pickle"])
    assert ended.value.code == 2 and flag in capsys.readouterr().err
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize(
    ("place", "text", "overrides", "words"),
    [
        ("data/evil.yaml", "_target_: os.system\ncommand: touch canary\n", ["data=evil"], ["data._target_"]),
        (
            "augment/evil.yaml",
            "_target_: torchvision.transforms.v2.Compose\ntransforms: [{_target_: pathlib.Path.touch, self: canary}]\n",
            ["augment=evil"],
            ["augment.transforms[0]._target_"],
        ),
        (
            "experiment/evil.yaml",
            "# @package _global_\nhydra:\n  callbacks:\n    x: {_target_: os.system, command: touch canary}\n",
            ["experiment=evil", "-m"],
            ["hydra.callbacks.x._target_"],
        ),
        (
            "experiment/evil.yaml",
            "# @package _global_\nhydra:\n  launcher: {_target_: os.system}\n",
            ["-m", "experiment=good,evil"],
            ["hydra.launcher._target_"],
        ),
        (
            "experiment/evil.yaml",
            "# @package _global_\nhydra: {job: {env_set: {FROSTLINE_ALLOW: os}}}\n",
            ["-m", "+experiment@_global_=good,evil"],
            ["hydra.job.env_set"],
        ),
        ("experiment/evil.yaml", "# @package _global_\nepoch: 3\n", ["experiment=evil"], ["evil.yaml", "epochs"]),
        ("data/evil.yaml", "_target_: [1\n", ["data=evil"], ["YAML", "evil.yaml", "line 2"]),
        ("data/evil.yaml", "size: !!python/object/apply:os.system ['touch canary']\n", ["data=evil"], ["YAML"]),
        ("data/evil.yaml", "size: 3\n", ["data=evil"], ["data:"]),
        ("optimizer/evil.yaml", "_target_: ${oc.env:EVIL}\n", ["optimizer=evil"], ["optimizer._target_"]),
    ],
)
def test_a_users_own_files_are_held_to_the_same(
    place: str,
    text: str,
    overrides: list[str],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVIL", "os.system")
    path = tmp_path / "mine" / place
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (path.parent / "good.yaml").write_text("# @package _global_\nepochs: 2\n")
    message = said(capsys, "run", "--config-dir", "mine", *overrides)
    assert all(word in message for word in words), message
    assert not (tmp_path / CANARY).exists()


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--debug", "epochs=0"], ["epochs=0", "debug=true"]):
        assert main(["run", *arguments]) == 2
        assert "Traceback" in capsys.readouterr().err


def test_the_environment_widens_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FROSTLINE_ALLOW", "os")
    assert "data._target_" in said(capsys, "run", "data._target_=os.system")
