"""`frostline run --allow`: a network and data of the user's own code, which knows nothing of Frostline."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from tests.own_project import CODE, table

from frostline.commands.arguments import choose_own

ALLOWED = ("--allow", "mine", "backbone._target_=mine.net", "data._target_=mine.data", "+data.file=rows.csv")
QUICK = ("epochs=2", "trainer.accelerator=cpu", "launcher.threads=1", "optimizer.lr=0.01")


@pytest.fixture
def run(frostline, tmp_path: Path) -> Any:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(CODE)
    (tmp_path / "rows.csv").write_text(table())

    def run(*words: str) -> tuple[CompletedProcess[str], dict[str, Any]]:
        ended = frostline("run", *ALLOWED, *QUICK, *words, PYTHONPATH=str(tmp_path / "code"))
        path = tmp_path / (ended.stdout.splitlines() or ["none"])[-1]
        return ended, json.loads(path.read_text()) if path.is_file() else {}

    return run


@pytest.mark.slow
def test_plain_modules_and_datasets_are_trained(run: Any, tmp_path: Path) -> None:
    ended, record = run("freeze=last_k", "freeze.k=1", "+backbone.width=12")
    assert ended.returncode == 0, ended.stderr
    assert record["status"] == "done" and record["metrics"]["test"]["accuracy"] > 0.5
    assert record["backbone"]["name"] == "Net"
    assert run("freeze=last_k", "freeze.k=1", "+backbone.width=12")[1]["id"] == record["id"]
    _, other = run("freeze=last_k", "freeze.k=1", "+backbone.width=8")
    assert other["id"] != record["id"] and other["parameters"] != record["parameters"]
    (tmp_path / "rows.csv").write_text(table(shift=1.0))
    assert run("freeze=last_k", "freeze.k=1", "+backbone.width=12")[1]["id"] != record["id"]


@pytest.mark.slow
def test_a_lightning_data_module_groups_and_a_mistake(run: Any) -> None:
    groups = "backbone.groups={low: [first, second], high: third}"
    ended, record = run("data._target_=mine.Module", groups, "freeze=scratch")
    assert ended.returncode == 0, ended.stderr
    assert record["plan"] and list(record["moved"]) == ["low", "high"]
    ended, _ = run("+backbone.depth=3")
    assert ended.returncode == 2 and "backbone.depth: there is no such key" in ended.stderr
    assert "width" in ended.stderr and "classifier" in ended.stderr


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["backbone._target_=mine.net", "seed=1"], ["backbone=own"]),
        (["backbone._target_=mine.net", "backbone=timm"], []),
        (["data._target_=mine.deep.data"], ["data=own"]),
        (["data._target_=frostline.data.image.datasets.Digits"], []),
    ],
)
def test_a_target_of_ones_own_takes_no_keys_of_another(
    given: list[str], added: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROSTLINE_ALLOW", "mine")
    assert choose_own(given) == [*added, *given]
