"""The examples of the pages on Python run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_the_example_of_runs_and_comparisons(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python_runs.md").read_text(), flags=re.DOTALL)
    (tmp_path / "example.py").write_text("".join(blocks))
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\ndone 0." in f"\n{done.stdout}" and (tmp_path / done.stdout.splitlines()[-1]).name == "report.html"
