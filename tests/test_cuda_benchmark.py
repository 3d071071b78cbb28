"""benchmarks/cuda.py: each check by itself, within its limit, and what it could not do is said."""

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SPEC = spec_from_file_location("benchmark_of_cuda", BENCHMARKS / "cuda.py")  # a package of NVIDIA's is called cuda too
assert SPEC is not None and SPEC.loader is not None
cuda = module_from_spec(SPEC)
SPEC.loader.exec_module(cuda)


def test_the_limits_of_all_checks_are_eight_minutes() -> None:
    assert sum(limit for _, limit in cuda.CHECKS.values()) <= 480


@pytest.mark.slow
def test_what_can_be_checked_without_a_gpu_is_right_and_the_rest_is_said(tmp_path: Path) -> None:
    words = [
        sys.executable,
        str(BENCHMARKS / "cuda.py"),
        "--only",
        "exchange",
        "waits",
        "modalities",
        "--patience",
        "8",
    ]
    safe = {**os.environ, "PYTHONSAFEPATH": "1"}  # as our own processes have it
    words += ["--json", str(tmp_path / "found.json")]
    done = subprocess.run(words, env=safe, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["machine"]["device"] == "processor"
    states = {row["check"]: row["state"] for row in found["found"] if row["state"]}
    assert states == {"exchange": "ok", "waits": "not done", "modalities": "ok"}


@pytest.mark.slow
def test_a_check_that_takes_too_long_is_ended_and_named(tmp_path: Path) -> None:
    *found, seconds = cuda.run("default", tmp_path, patience=0.1)
    assert found[-1]["state"] == "wrong" and found[-1]["about"] == "not done within 2.5 s"
    assert float(seconds["about"].split()[0]) < 25
