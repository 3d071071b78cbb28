"""The wheel carries its configs: installed elsewhere, it composes one from an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROBE = """
import frostline, sys
from frostline.config.compose import compose, resolve
from frostline.config.schema import Compare, find_conf_dir
assert resolve(compose("run", ["freeze=gradual"])).freeze["_target_"].endswith("gradual")
assert resolve(compose("compare", ["experiment=demo"]), Compare).compare.seeds
print(frostline.__file__)
print(find_conf_dir())
"""


@pytest.mark.slow
def test_an_installed_wheel_composes_from_an_empty_folder(tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True, capture_output=True)
    ended = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(site)},
        text=True,
        capture_output=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(site / "frostline" / "__init__.py"), str(site / "frostline" / "conf")]
    assert (site / "bin" / "frostline").exists() and not list(empty.iterdir())
