"""A fresh machine: what make installs, what doctor says is missing, and tests that are skipped fairly."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from tests import configs

from frostline.backbones.chains.speech import INSTALL, PACKAGE, RELEASE
from frostline.commands import main
from frostline.commands.doctor import EXTRAS
from frostline.config.compose import list_config_groups
from frostline.config.schema import find_conf_dir
from frostline.errors import UserError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = PROJECT["optional-dependencies"]
Doctor = Callable[[], str]
HIDE = """
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, PackageNotFoundError

NAMES = set(%r)

def find_spec(name, path=None, target=None, found=PathFinder.find_spec):
    return None if name.partition(".")[0] in NAMES else found(name, path, target)

def from_name(name, found=Distribution.from_name):
    if name.lower().replace("-", "_") in NAMES:
        raise PackageNotFoundError(name)
    return found(name)

PathFinder.find_spec, Distribution.from_name = staticmethod(find_spec), staticmethod(from_name)
"""
TESTS = """
import pytest

def test_its_own_import():
    import optuna

def test_the_programs_import():
    from frostline.errors import UserError
    try:
        import optuna.samplers
    except ModuleNotFoundError as error:
        raise UserError("frostline tune needs Optuna") from error

@pytest.fixture
def study():
    import optuna

def test_a_fixtures_import(study):
    pass

def test_that_fails_for_another_reason():
    import there_is_no_such_module

def test_that_fails():
    assert False

def test_that_passes():
    pass
"""


def names(requirements: list[str]) -> list[str]:
    """Return the names of distributions, as importlib.metadata writes them."""
    return [re.split(r"[^\w.-]", one)[0].lower().replace("_", "-") for one in requirements]


def steps(tmp_path: Path, target: str) -> list[str]:
    """Return what make would do for a target where nothing is set up yet."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # this may be a make's
    done = subprocess.run(["make", "-n", target], cwd=tmp_path, env=own, capture_output=True, text=True, check=True)
    return done.stdout.replace("\\\n", "").splitlines()


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("demo", ["-e ."]),
        ("test", ["-e .", "-e '.[test]'", "--no-deps resemblyzer"]),
        ("slow", ["-e .", "-e '.[test]'", "--no-deps resemblyzer", "-e '.[dev]'"]),
        ("lint", ["-e .", "-e '.[test]'", "--no-deps resemblyzer", "-e '.[dev]'"]),
    ],
)
def test_each_target_installs_what_it_needs_from_wheels_and_says_how_far_it_is(
    target: str, wanted: list[str], tmp_path: Path
) -> None:
    todo = steps(tmp_path, target)
    installs = [line for line in todo if "pip install" in line]
    assert [line.endswith(f" {end}") for line, end in zip(installs, wanted, strict=True)] == [True] * len(wanted)
    assert all("-c constraints.txt" in line and "--only-binary :all:" in line for line in installs)
    sources = {name for line in installs for name in re.findall(r"--no-binary (\S+)", line)}
    assert sources == {"antlr4-python3-runtime"}, "Hydra's parser is all Python; what else has no wheel is not needed"
    assert not any(re.search(r" -q| --quiet", line) for line in installs), "pip's own words are the progress"
    assert sum("Setting up" in line for line in todo) == len([end for end in wanted if end.startswith("-e")])
    if target in ("test", "slow"):
        assert " -rs " in todo[-1], "the last lines say what was skipped, and why"


def test_services_are_no_part_of_what_the_tests_install() -> None:
    extras = {name for one in OPTIONAL["test"] for name in re.findall(r"frostline\[(.*)\]", one)}
    (brought,) = extras
    assert not {"mlflow", "wandb", "ray"} & set(brought.split(","))
    everything = names([*PROJECT["dependencies"], *(one for extra in OPTIONAL.values() for one in extra)])
    assert PACKAGE not in everything, "it depends on webrtcvad, which has to be compiled"
    assert RELEASE in (ROOT / "constraints.txt").read_text().splitlines()


def test_doctor_knows_each_extra_by_what_it_brings() -> None:
    assert {name for name, _, _ in EXTRAS} == set(OPTIONAL) - {"all", "dev", "test"}
    installed = packages_distributions()
    for extra, modules, _ in EXTRAS:
        required = names(OPTIONAL[extra])
        assert len(required) == len(modules), extra
        for module in modules:
            found = [name.lower().replace("_", "-") for name in installed.get(module.partition(".")[0], [])]
            assert not found or set(found) & set(required), module


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Return what doctor says, each row in one line."""
    monkeypatch.setenv("COLUMNS", "400")

    def run() -> str:
        assert main(["doctor"]) == 0
        return capsys.readouterr().out

    return run


def test_doctor_names_what_is_missing_and_the_command_that_gets_it(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.commands.doctor.find_spec", lambda name: None)
    monkeypatch.setattr("frostline.backbones.chains.speech.find_spec", lambda name: None)
    said = doctor().splitlines()
    for extra, _, purpose in EXTRAS:
        assert any(purpose in line and f"missing: pip install 'frostline[{extra}]'" in line for line in said), extra
    assert any("voice_encoder" in line and "missing" in line and INSTALL in line for line in said)


def test_doctor_says_of_each_data_set_where_it_comes_from(doctor: Doctor) -> None:
    (line,) = [line for line in doctor().splitlines() if "downloaded on first use" in line and "cifar10" in line]
    downloaded = {name for name in list_config_groups()["data"] if re.search(rf"\b{name}\b", line)}
    for name in list_config_groups()["data"]:
        text = (find_conf_dir() / "data" / f"{name}.yaml").read_text()
        assert (name in downloaded) == ("_published" in text or "download:" in text), name


def planted(folder: Path, content: bytes) -> None:
    """Write a package of that name, with weights of this content and code that must not run."""
    (folder / PACKAGE).mkdir()
    (folder / PACKAGE / "__init__.py").write_text("raise AssertionError('its code ran')")
    (folder / PACKAGE / "pretrained.pt").write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"half of a file", None])
def test_weights_that_are_not_the_packages_are_refused(
    content: bytes | None, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(tmp_path, content or b"")
    if content is None:
        (tmp_path / PACKAGE / "pretrained.pt").unlink()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"backbone\.weights: \S*pretrained\.pt is not the file of resemblyzer==0\.1"):
        configs.make("backbone/voice_encoder")
    assert f"{INSTALL} --force-reinstall" in doctor()


def in_pytest(folder: Path, hidden: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the hooks of tests/conftest.py where some modules are as if not installed."""
    (folder / "hide.py").write_text(HIDE % sorted(hidden))
    path = os.pathsep.join([str(folder), str(ROOT), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "hide", "-p", "no:cacheprovider", "-rs", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        capture_output=True,
    )


def test_what_fails_for_want_of_an_extra_is_skipped_and_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_whole.py").write_text("import optuna\n\ndef test_it():\n    pass\n")
    (tmp_path / "test_wrong.py").write_text("import there_is_no_such_module\n")
    settings = ["-c", os.devnull, "--rootdir", str(tmp_path), "-p", "tests.conftest", "--continue-on-collection-errors"]
    done = in_pytest(tmp_path, {"optuna"}, *settings, ".")
    assert "2 failed, 1 passed, 4 skipped, 1 error" in done.stdout.splitlines()[-1], done.stdout
    reasons = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert reasons and all("needs the extra optuna: pip install 'frostline[optuna]'" in line for line in reasons)


@pytest.mark.slow
def test_tests_are_collected_where_no_extra_is_installed(tmp_path: Path) -> None:
    hidden = {module for _, modules, _ in EXTRAS for module in modules} | {PACKAGE}
    done = in_pytest(tmp_path, hidden, "-c", str(ROOT / "pyproject.toml"), "--collect-only", "-q", str(ROOT / "tests"))
    assert done.returncode == 0, done.stdout[-3000:]
    assert {extra for extra in re.findall(r"needs the extra (\w+)", done.stdout)} >= {"text", "audio", "ray", "optuna"}
