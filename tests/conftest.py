"""What every test stands on: few threads, no allow-list but ours, and the program in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # small networks gain nothing from threads, and lose where cores are shared
os.environ.pop("FROSTLINE_ALLOW", None)

settings.register_profile("frostline", deadline=None)  # shared machines stall
settings.load_profile("frostline")

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
