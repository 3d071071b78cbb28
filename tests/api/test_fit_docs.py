"""The example of docs/python_fit.md does what the page says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "python_fit.md").read_text()


@pytest.mark.slow
def test_the_example_prints_what_the_page_says_and_is_not_done_again(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```\n\nprints `(.*?)` and `(.*?)`", PAGE, flags=re.DOTALL)
    assert found is not None
    (tmp_path / "example.py").write_text(found[1])
    for _ in range(2):
        done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-2:] == [found[2], found[3]]
