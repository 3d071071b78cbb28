"""How a run computes is what its config says, whatever ran in its process before, and results are kept under it."""

import os
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.plugins.precision import MixedPrecision

from frostline.launchers.dispatch import make_environment
from frostline.ranks.numerics import SETTINGS, describe_numerics, make_autocast, restore_numerics, set_numerics

NODES = [
    {"precision": "32-true", "matmul_precision": precision, "deterministic": deterministic, "benchmark": benchmark}
    for precision, deterministic, benchmark in product(
        ("highest", "high", "medium"), (False, True, "warn", None), (False, True)
    )
]


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with restore_numerics():
        yield


def state() -> list[Any]:
    return [getter() for getter, _ in SETTINGS]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(NODES), min_size=1, max_size=3))
def test_only_the_last_config_counts(nodes: list[dict[str, Any]]) -> None:
    for node in nodes:
        set_numerics(node)
    last = nodes[-1]
    assert torch.get_float32_matmul_precision() == last["matmul_precision"]
    assert torch.backends.cudnn.allow_tf32 is (last["matmul_precision"] != "highest")
    assert torch.backends.cuda.matmul.allow_tf32 is (last["matmul_precision"] != "highest")
    assert torch.backends.cudnn.benchmark is last["benchmark"]
    assert torch.are_deterministic_algorithms_enabled() is bool(last["deterministic"])
    assert torch.is_deterministic_algorithms_warn_only_enabled() is (last["deterministic"] == "warn")


@settings(max_examples=60)
@given(st.sampled_from(NODES), st.sampled_from(NODES))
def test_what_is_computed_for_another_run_leaves_nothing(own: dict[str, Any], other: dict[str, Any]) -> None:
    set_numerics(own)
    before = state()
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(precision_plugin=MixedPrecision("bf16-mixed", "cpu")))
    with make_autocast(other, trainer)():
        assert torch.is_autocast_enabled("cpu")
        inside = state()
        set_numerics(other)
        assert inside == state()
    assert state() == before


def test_what_decides_the_numbers_is_in_the_name_and_the_default_is_as_it_was() -> None:
    names = {describe_numerics(node, gpu) for node in NODES for gpu in ("", "NVIDIA A100", "NVIDIA H100")}
    assert len(names) == 3 * (3 * 3 * 2), "null and false are the same"
    assert describe_numerics({"precision": "bf16-mixed"}, "") == "bf16-mixed"


def test_every_worker_has_what_cublas_reads_once_unless_the_user_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_environment(1)["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    set_numerics({})
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_numerics({"deterministic": True})
    assert make_environment(1)["CUBLAS_WORKSPACE_CONFIG"] == os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
