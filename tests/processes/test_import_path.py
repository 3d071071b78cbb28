"""Nothing that lies in the working directory is imported, by any process, under any launcher."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from frostline.processes.import_path import SAFE, leave_out_working_directory

Program = Callable[..., subprocess.CompletedProcess[str]]
SMALL = [
    "backbone=timm",
    "backbone.name=test_resnet",
    "backbone.weights=none",
    "data=digits",
    "data.size=32",
    "data.num_per_class=5",
    "epochs=1",
    "freeze=full",
    "launcher.threads=1",
]
NAMES = """
    yaml timm random torch numpy signal pickle multiprocessing subprocess socket tempfile json logging hydra omegaconf
    pebble safetensors lightning_fabric pytorch_lightning torchvision torchmetrics sklearn scipy joblib cloudpickle ray
    submitit psutil secrets queue threading traceback hashlib shutil csv faulthandler resource
""".split()
WAYS = {
    "the pool, with loaders": ["-m", "seed=1,2", "augment=light", "data.views=null", "data.workers=1"],
    "a new process for each run": ["-m", "seed=1,2", "launcher.fresh=true"],
    "ranks": ["trainer=ddp_cpu"],
    "joblib": ["-m", "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "ray": ["-m", "seed=1", "launcher=ray"],
}


def shadow(folder: Path) -> Path:
    """Shadow many modules in a folder; return the file in which each that is imported leaves its name."""
    for name in NAMES:
        code = f"open({str(folder / 'canary')!r}, 'a').write('{name} in {{}}\\n'.format(__import__('os').getpid()))\n"
        (folder / f"{name}.py").write_text(code + f"raise ImportError('{name} is shadowed')\n")
    return folder / "canary"


@pytest.fixture
def shadowed(tmp_path: Path) -> Path:
    """Shadow many modules in the test's own folder; return the file in which each that is imported leaves its name."""
    return shadow(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_no_process_imports_from_the_working_directory(frostline: Program, shadowed: Path, way: str) -> None:
    """Promise 31."""
    needed = {"joblib": "hydra_plugins.hydra_joblib_launcher", "ray": "ray"}.get(way)
    if needed and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    done = frostline("run", *SMALL, *WAYS[way])
    assert not shadowed.exists(), shadowed.read_text()
    assert done.returncode == 0, done.stderr


def test_an_empty_part_of_pythonpath_is_no_way_in(frostline: Program, shadowed: Path) -> None:
    path = os.environ.get("PYTHONPATH", "")
    (shadowed.parent / "sitecustomize.py").write_text("")  # Python itself looks for this one, before all of ours
    code = "import sys; from frostline.__main__ import main; sys.exit(main(['list']))"
    words = [sys.executable, "-P", "-c", code]
    given = {**os.environ, "PYTHONPATH": path + os.pathsep}
    for name in ("traceback", "threading", "random", "signal", "shutil", "tempfile", "logging", "socket"):
        (shadowed.parent / f"{name}.py").unlink(missing_ok=True)  # what Python may import before us
    done = subprocess.run(words, cwd=shadowed.parent, env=given, capture_output=True, text=True)
    assert not shadowed.exists(), shadowed.read_text()
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("named", "stays"),
    [("", False), (":", False), ("other:", False), ("{here}", True), ("other:{here}", True), (".", True)],
)
def test_the_working_directory_is_left_out_unless_pythonpath_names_it(
    named: str, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", named.format(here=tmp_path))
    monkeypatch.setenv(SAFE, "")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    leave_out_working_directory()
    assert (str(tmp_path) in sys.path) == stays == ("" in sys.path)
    assert os.environ[SAFE] == "1" and "" not in os.environ.get("PYTHONPATH", "x").split(os.pathsep)


def test_the_folder_of_the_package_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).parents[2] / "src"
    monkeypatch.chdir(source)
    monkeypatch.setenv(SAFE, "")
    monkeypatch.setattr(sys, "path", [str(source)])
    leave_out_working_directory()
    assert sys.path == [str(source)]
