"""The page on one's own network and data: its example runs, and what it names is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text()


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, text=True, capture_output=True, timeout=500, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    accuracy, folder = next(line for line in lines if "outputs/runs" in line).split()
    assert float(accuracy) >= 0.3 and (tmp_path / folder / "record.json").is_file()
    assert "best mean test accuracy" in lines[-1] and (tmp_path / lines[-1].split()[-1]).is_file()
    assert sum("'prediction': " in line for line in lines) == 1


def test_the_page_names_what_is_there() -> None:
    for path in re.findall(r"`(conf/[\w/.]+)`", PAGE):
        assert (ROOT / path).is_file()
    keys = {key for name in ("data", "backbone") for key in re.findall(rf"`{name}\.(\w+)", PAGE)}
    shipped = "".join((ROOT / "conf" / name / "own.yaml").read_text() for name in ("data", "backbone"))
    places = {"root", "file", "manifest", "path"}  # arguments of the user's own functions
    assert all(f"\n{key}:" in shipped for key in keys - places)
