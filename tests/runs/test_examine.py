"""The data of a run are examined from its config, beside the survey, and what cannot be opened is said."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.data.examination.planted import plant_pictures, write_pictures
from tests.data.sounds import VOICE, needs_voice
from tests.small_runs import make_run
from torch import nn

from frostline.api.own import describe
from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.config.secrets import without_credentials
from frostline.data.examination.sentences import list_sentences
from frostline.data.image.datasets import Digits
from frostline.launchers.calls import call_by_name, name_of
from frostline.runs.build import Builder
from frostline.runs.calls import examine_and_survey, survey
from frostline.runs.examine import examine_data, mask_texts


def made(outputs: Path, *overrides: str) -> dict[str, Any]:
    return make_run(outputs, *overrides)[0].plain()


def test_a_worker_examines_the_data_of_a_config(tmp_path: Path) -> None:
    found = call_by_name(name_of(examine_and_survey), [made(tmp_path)], False)["data"]
    assert json.loads(json.dumps(found))["samples"] == {"train": 40, "val": 359, "test": 359}
    assert found["classes"]["counts"]["train"] == {str(digit): 4 for digit in range(10)} and not found["failed"]
    assert {name: one["looked_at"] for name, one in found["contents"].items()} == found["samples"]


def test_networks_and_data_are_made_once_for_examination_and_survey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [made(tmp_path, f"freeze={name}") for name in ("linear_probe", "full")]
    runs, counted = survey(configs, False), []
    begin = Digits.__init__
    monkeypatch.setattr(Digits, "__init__", lambda self, **keys: (counted.append(1), begin(self, **keys))[1])
    found = examine_and_survey(configs, False, seconds=60.0)
    assert found["runs"] == runs and found["data"]["samples"] == runs[0]["counts"]
    assert len(counted) == 1


def test_data_that_cannot_be_opened_are_said_and_secrets_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "hidden-place-of-mine")
    config = made(tmp_path, "data=imagefolder", "data.root=${oc.env:PLACE}", "data.num_per_class=null")
    found = examine_data(config, Builder({}), 2.0)
    assert found["samples"] == {} and [one["part"] for one in found["failed"]] == ["data"]
    (said,) = list_sentences(found)  # type: ignore[arg-type]
    assert said.startswith("The data could not be looked at: data.root: ") and "hidden-place" not in said


@needs_voice
def test_what_an_adapter_cannot_measure_is_examined(tmp_path: Path) -> None:
    """An image that cannot be read ends the measuring, and the survey; the examination names it."""
    root = plant_pictures(write_pictures(tmp_path / "data"))
    words = [f"data.root={root}", "data.num_per_class=null", "adapter=rows"]
    config = resolve(compose("run", [*words, f"outputs={tmp_path}", *VOICE, "data=imagefolder"])).plain()
    found = examine_and_survey([config], False, seconds=60.0)
    assert not found["data"]["failed"] and found["data"]["contents"]["train"]["unusable"]["count"] == 1
    assert "half.png" in found["runs"][0]["error"]


def test_objects_that_are_given_are_examined(tmp_path: Path) -> None:
    inputs = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    inputs[25] = inputs[3]
    splits = {"train": inputs[:20], "val": inputs[20:40], "test": inputs[40:]}
    data = {name: (each, torch.arange(20) % 2) for name, each in splits.items()}
    words, given = describe([f"outputs={tmp_path}", "trainer.accelerator=cpu"], nn.Linear(6, 4), data)
    found = examine_data(resolve(compose("run", words)).plain(), Builder(given), 2.0)
    assert not found["failed"] and found["copies"]["train/val"]["pairs"] == [("train/3", "val/5")]


def test_secrets_are_nowhere_in_what_was_found() -> None:
    found = mask_texts({"failed": [{"reason": "at http://me:pass@host/x"}], "pairs": [("key", 3)]}, without_credentials)
    assert "pass" not in str(found) and found["pairs"] == [("key", 3)]


def faulty() -> None:
    raise RuntimeError("no such luck")


def test_a_function_of_the_users_own_may_raise(tmp_path: Path) -> None:
    allow([__name__])
    try:
        found = examine_data(made(tmp_path, "data=own", f"data._target_={__name__}.faulty"), Builder({}), 2.0)
    finally:
        allow([])
    ((part, reason),) = [(one["part"], one["reason"]) for one in found["failed"]]
    assert part == "data" and "no such luck" in reason
