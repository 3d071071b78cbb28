"""Which device a run trains on is known before it has an ID, or one sentence says what to ask for."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from frostline.config import accelerators
from frostline.config.accelerators import ask_driver, find_accelerator, read_torch_build, settle_accelerator
from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.results.store import run_id

LOCAL = {"_target_": "frostline.launchers.pool.launcher.Pool"}
SLURM = {"_target_": "frostline.launchers.slurm.launcher.Slurm", "gpus_per_node": None}
RAY = {"_target_": "frostline.launchers.ray.launcher.Ray", "gpus": None, "address": None}
FAR = {**RAY, "address": "head:6379"}
HERE = "what is here"
TABLE: list[tuple[dict[str, Any], str, str | None]] = [
    (LOCAL, "auto", HERE),
    (LOCAL, "gpu", "cuda"),
    (RAY, "auto", HERE),
    ({**RAY, "gpus": 0}, "auto", "cpu"),
    ({**RAY, "gpus": 0.5}, "auto", "cuda"),
    (RAY, "gpu", "cuda"),
    (FAR, "auto", None),
    ({**FAR, "gpus": 0}, "auto", "cpu"),
    ({**FAR, "gpus": 1}, "auto", "cuda"),
    (FAR, "gpu", "cuda"),
    (SLURM, "auto", None),
    ({**SLURM, "gpus_per_node": 2}, "auto", "cuda"),
    ({**SLURM, "gpus_per_node": "a100:2"}, "auto", "cuda"),
    (SLURM, "gpu", "cuda"),
]


def driver(monkeypatch: pytest.MonkeyPatch, count: int, version: int = 99) -> None:
    """Let the driver have so many GPUs, and be for this version of CUDA; torch be one for CUDA 13."""
    monkeypatch.setattr(accelerators, "ask_driver", lambda visible: (count, version))
    monkeypatch.setattr(accelerators, "read_torch_build", lambda: ("13.0", None))
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.mark.parametrize("here", ["cpu", "cuda"])
@pytest.mark.parametrize(("launcher", "asked", "comes_to"), TABLE)
def test_an_accelerator_is_what_the_launcher_makes_of_it(
    launcher: dict[str, Any], asked: str, comes_to: str | None, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(monkeypatch, int(here == "cuda"))
    if comes_to is None:
        with pytest.raises(UserError, match="^trainer.accelerator: auto .* trainer.accelerator=gpu or .*=cpu.$"):
            settle_accelerator({"accelerator": asked}, launcher)
    else:
        assert settle_accelerator({"accelerator": asked}, launcher) == (here if comes_to is HERE else comes_to)


@pytest.mark.parametrize("launcher", [LOCAL, SLURM, RAY, FAR])
@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_a_kind_of_device_is_itself_everywhere(launcher: dict[str, Any], kind: str) -> None:
    assert settle_accelerator({"accelerator": kind}, launcher) == kind


def test_auto_has_another_id_where_it_comes_to_another_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identify(*overrides: str) -> str:
        return run_id(resolve(compose("run", [f"outputs={tmp_path}", *overrides])))

    found = {}
    for count in (0, 1):
        driver(monkeypatch, count)
        found[count] = identify(), identify("trainer.accelerator=cpu"), identify("trainer.accelerator=gpu")
    assert found[0][1:] == found[1][1:] and found[0][1] != found[0][2]
    assert found[0][0] == found[0][1] and found[1][0] == found[1][2]
    for setting in ("matmul_precision=high", "deterministic=true", "deterministic=warn", "benchmark=true"):
        assert identify(f"trainer.{setting}") not in found[1], setting


def test_a_driver_that_is_too_old_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, 2, 12)
    with pytest.raises(UserError, match=r"driver of the GPUs here is for CUDA 12, and this torch needs CUDA 13\.0"):
        find_accelerator()
    driver(monkeypatch, 0, 12)
    assert find_accelerator() == "cpu"


def test_what_torch_is_for_is_read_and_what_is_here_is_what_torch_sees() -> None:
    assert read_torch_build() == (torch.version.cuda, torch.version.hip)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    assert ask_driver(visible)[0] == (torch.cuda.device_count() if torch.version.cuda else ask_driver(visible)[0])


def test_a_driver_is_asked_by_its_own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a library of the driver's name: with two GPUs, or with none to see, or broken."""
    source = tmp_path / "cuda.c"
    source.write_text(
        "#include <stdlib.h>\n"
        'int cuInit(unsigned flags) { return getenv("BROKEN") ? 803 : 0; }\n'
        'int cuDeviceGetCount(int *n) { *n = getenv("CUDA_VISIBLE_DEVICES") ? 1 : 2; return 0; }\n'
        "int cuDriverGetVersion(int *n) { *n = 12040; return 0; }\n"
    )
    words = ["cc", "-shared", "-fPIC", "-o", str(tmp_path / "libcuda.so.1"), str(source)]
    try:
        subprocess.run(words, check=True)
    except FileNotFoundError:
        pytest.skip("there is no compiler here to make a library of the driver's name")
    program = "from frostline.config.accelerators import *; print(ask_driver(os.getenv('CUDA_VISIBLE_DEVICES')))"
    clean = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    for more, said in (({}, "(2, 12)"), ({"CUDA_VISIBLE_DEVICES": "1"}, "(1, 12)"), ({"BROKEN": "1"}, "(0, 12)")):
        environment = {**clean, "LD_LIBRARY_PATH": str(tmp_path), **more}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == said, done.stderr
