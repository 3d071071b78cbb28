"""A task of the user's own: one class and one YAML file, judged everywhere as the class declares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.finished_runs import finished, rows

from frostline.config.allow import VARIABLE, allow
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run, find_monitor
from frostline.errors import UserError
from frostline.results.loading import declaration_in
from frostline.tasks.declarations import Metric

SOURCE = """
from frostline.tasks.declarations import Declaration, Metric
from frostline.tasks.multiclass import Multiclass


class Cautious(Multiclass):
    declaration = Declaration(
        "cautious",
        (Metric("regret", "mean regret", lower_is_better=True, low=0.0, high=1.0), *Multiclass.declaration.metrics),
        running="accuracy",
        predictions="classes",
    )

    def scores(self, outputs, labels):
        found = super().scores(outputs, labels)
        return {"regret": 1 - found["accuracy"], **found}


class Silent:
    pass
"""
SMALL = ("backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "trainer.accelerator=cpu")
DIGITS = ("data=digits", "data.size=32", "data.num_per_class=8", "epochs=3", "trainer.enable_progress_bar=false")
OWN = ("task=cautious", "monitor=regret", "head.solver=null", "freeze=full", "optimizer.lr=0.01")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The config of a run of the task, which lies in a module and a YAML file of the user's."""
    (tmp_path / "cautious_task.py").write_text(SOURCE)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "cautious.yaml").write_text(
        "_target_: cautious_task.Cautious\nlabel_smoothing: 0.0\nclass_weights: null\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    allow(["cautious_task"])
    words = [*SMALL, *DIGITS, *OWN, f"outputs={tmp_path / 'outputs'}"]
    yield resolve(compose("run", words, tmp_path / "conf"))
    allow([])


def test_a_run_is_judged_by_what_its_task_declares(config: Run) -> None:
    record, folder = finished(config)
    regrets = [float(row["val/regret"]) for row in rows(folder / "metrics.csv")]
    assert len(set(regrets)) > 1 and record["metrics"]["val"]["regret"] == min(regrets), "the least is the best"
    assert declaration_in(record).metric("regret") == find_monitor(config)
    assert find_monitor(config) == Metric("regret", "mean regret", lower_is_better=True, low=0.0, high=1.0)


def test_a_task_that_declares_nothing_is_told_what_to_declare(config: Run) -> None:
    config.task = {"_target_": "cautious_task.Silent"}
    with pytest.raises(UserError, match=r"^task: cautious_task\.Silent does not declare its scores; give the class"):
        find_monitor(config)
