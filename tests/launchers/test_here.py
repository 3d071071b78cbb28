"""Runs in this process: an outcome whatever happens, nothing done twice, and the process as it was found."""

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_runs import make_run
from torch import distributed, nn

from frostline.config.allow import allow
from frostline.errors import UserError
from frostline.launchers.base import Job
from frostline.launchers.here import Here, check_alone, leaving_process
from frostline.ranks.numerics import SETTINGS
from frostline.runs.calls import extract, survey


def job(tmp_path: Path, *overrides: str) -> Job:
    return Job("one", make_run(tmp_path, "trainer.enable_progress_bar=false", *overrides)[0])


def process() -> list[Any]:
    """Return what a run could change in this process."""
    settings = [getter() for getter, _ in SETTINGS]
    numpy = [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()]
    generators = [torch.get_rng_state().tolist(), random.getstate(), numpy]
    return [dict(os.environ), *generators, torch.get_num_threads(), distributed.is_initialized(), *settings]


def test_runs_come_back_in_order_and_are_not_done_twice(tmp_path: Path) -> None:
    jobs = [job(tmp_path, f"freeze={name}") for name in ("linear_probe", "full")]
    first = list(Here({}).run(jobs))
    assert [one for one, _, _ in first] == jobs
    assert all(outcome.fresh and outcome.record["status"] == "done" for _, outcome, _ in first)
    assert [seconds for _, _, seconds in first] == [outcome.record["cost"]["seconds"] for _, outcome, _ in first]
    again = list(Here({}).run(jobs))
    assert [(outcome.fresh, seconds) for _, outcome, seconds in again] == [(False, 0.0)] * 2
    assert [outcome.record for _, outcome, _ in again] == [outcome.record for _, outcome, _ in first]


class Broken(nn.Linear):
    """A head that fails; it has what every module has and no more."""

    def __init__(self, features: int, classes: int, **options: Any) -> None:
        super().__init__(features, classes)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such luck")


def test_a_run_that_fails_is_an_outcome_and_the_next_one_runs(tmp_path: Path) -> None:
    allow([__name__])
    try:
        broken = job(tmp_path, "freeze=full", f"head._target_={__name__}.Broken")
        found = [outcome for _, outcome, _ in Here({}).run([broken, job(tmp_path, "freeze=full")])]
    finally:
        allow([])
    assert [one.record["status"] for one in found] == ["failed", "done"]
    assert "no such luck" in found[0].record["reason"]


@pytest.mark.parametrize("trainer", ["default", "ddp_cpu"])
def test_the_process_is_left_as_it_was_found(tmp_path: Path, trainer: str) -> None:
    """DDP forms a process group, of one rank too: its threads would outlive the interpreter."""
    torch.manual_seed(7)
    before = process()
    options = [f"trainer={trainer}", "trainer.devices=1", "freeze=full", "epochs=1", "launcher.threads=1"]
    outcome = Here({}).run_one(job(tmp_path, *options))
    assert outcome is not None and outcome.record["status"] == "done", outcome
    assert process() == before


def test_a_process_group_of_the_callers_own_stays() -> None:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    try:
        with leaving_process():
            pass
        assert distributed.is_initialized()
    finally:
        distributed.destroy_process_group()


def test_several_ranks_are_refused(tmp_path: Path) -> None:
    for key, other in (("devices", "num_nodes"), ("num_nodes", "devices")):
        with pytest.raises(UserError, match=rf"^trainer\.{key}: 2 is invalid for objects given from Python"):
            check_alone(make_run(tmp_path, "trainer=ddp_cpu", f"++trainer.{key}=2", f"++trainer.{other}=1")[0])


def test_it_answers_what_a_comparison_asks(tmp_path: Path) -> None:
    here, configs = Here({}), [job(tmp_path, f"freeze={name}").config for name in ("linear_probe", "full")]
    asked = here.ask(survey, configs)
    assert [fact["stepped"] for fact in asked] == [False, True] and asked[0]["missing"] == 3
    (filled,) = here.share(extract, configs, 1)
    assert filled["passes"] == 3 and here.ask(survey, configs)[0]["missing"] == 0
