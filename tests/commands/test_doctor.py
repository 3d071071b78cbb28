"""What doctor says of GPUs, on machines that have them in one state or another."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from frostline.commands.doctor import main

OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading "
    "and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)


def test_no_test_sees_a_gpu_and_nothing_that_it_starts(frostline: Any) -> None:
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "" and torch.cuda.device_count() == 0
    done = frostline("doctor")
    assert done.returncode == 0 and "cuda:" not in done.stdout


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "400")
    assert main([]) == 0
    return capsys.readouterr().out


def test_a_driver_that_is_too_old_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """NVML counts the GPUs, and CUDA refuses to start: torch's own words, as it says them there."""

    def refuse(index: int) -> None:
        raise RuntimeError(OLD)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", refuse)
    lines = [line for line in said(capsys, monkeypatch).splitlines() if "cuda" in line]
    assert len(lines) == 1 and "is too old (found version 11040)" in lines[0] and "update the driver" in lines[0]
    assert "trainer.accelerator=cpu" in lines[0] and "http" not in lines[0]


def test_each_gpu_has_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    about = SimpleNamespace(name="NVIDIA H100", total_memory=80e9)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: about)
    found = said(capsys, monkeypatch)
    assert found.count("NVIDIA H100, 80 GB") == 2 and "cuda:1" in found and "none: runs take" not in found


def test_a_machine_without_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert "none: runs take the CPU" in said(capsys, monkeypatch)
