"""What every test stands on: few threads, no allow-list but ours, and the program in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.pop("FROSTLINE_ALLOW", None)

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def frostline(tmp_path: Path) -> Program:
    """Run `python -m frostline` with arguments, in the test's own folder, and return what came of it."""

    def run(*arguments: str, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "frostline", *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            text=True,
            capture_output=True,
            timeout=timeout,
        )

    return run
