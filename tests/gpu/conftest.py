"""A GPU for the tests that need one; where torch can use none they are skipped, and say why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVERS = ("nvidiactl", "dxg", "kfd")
"""What is in /dev where there is a GPU: NVIDIA's, that of Windows beneath, or AMD's."""


@pytest.fixture(scope="session")
def gpu() -> str:
    """Return the name of a GPU: with it as CUDA_VISIBLE_DEVICES a process sees that one, as the suite sees none."""
    name = os.environ["GPU_OF_TESTS"]
    if not name or not any(Path("/dev", driver).exists() for driver in DRIVERS):
        pytest.skip("needs a GPU, and there is none here")
    code = "import torch; torch.zeros(1, device='cuda')"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": name}
    asked = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, timeout=100)
    if asked.returncode:
        pytest.skip(f"needs a GPU that torch can use: {asked.stderr.strip().splitlines()[-1]}")
    return name
