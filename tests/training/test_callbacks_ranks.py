"""People's own callbacks on two ranks: the same scores on both, and a phase ends early on both."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.finished_runs import rows

from frostline.config.allow import allow
from frostline.config.compose import compose, resolve
from frostline.launchers.dispatch import dispatch

TESTS = Path(__file__).parents[1]
SMALL = ["backbone=timm", "backbone.name=test_vit", "backbone.weights=none", "data=digits", "data.size=32"]
RANKS = ["data.num_per_class=11", "data.batch_size=15", "launcher.threads=1", "trainer=ddp_cpu", "trainer.devices=2"]
STOPPER = "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/accuracy, mode: max"


@pytest.fixture
def own_callbacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let configs name tests/reporting.py, and ranks find it."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.syspath_prepend(str(TESTS))
    allow(["reporting"])
    yield
    allow([])


@pytest.mark.slow
def test_two_ranks_find_the_same_scores_and_end_a_phase_together(own_callbacks: None, tmp_path: Path) -> None:
    """A threshold that any score reaches ends each phase after its first epoch."""
    given = f"+trainer.callbacks=[{{_target_: reporting.Reporting}}, {STOPPER}, stopping_threshold: -1.0}}]"
    plan = ["freeze=gradual", "head.solver=null", "epochs=16"]
    outcome = dispatch(resolve(compose("run", [*SMALL, *RANKS, *plan, given, f"outputs={tmp_path}"])))
    record = outcome.record
    assert record["status"] == "done", record["reason"]
    starts, start = [], 0
    for phase in record["plan"]["phases"]:
        starts.append(start)
        start += phase["epochs"]
    table = rows(outcome.folder / "metrics.csv")
    assert [int(row["epoch"]) for row in table] == starts and record["epochs"] == len(starts) > 1
    early = [phase for phase in record["plan"]["phases"] if phase["epochs"] > 1]
    assert early and sum("ended early, after 1 of" in note for note in record["notes"]) == len(early)
    texts = [(outcome.folder / f"found-{rank}.jsonl").read_text() for rank in range(2)]
    assert texts[0] == texts[1]
    for row, line in zip(table, texts[0].splitlines(), strict=True):
        assert json.loads(line) == {name: float(row[name]) for name in row if name.startswith(("train/", "val/"))}
    log = (outcome.folder / "log.txt").read_text()
    assert log.count("hold the same weights") == 2 * len(starts) and "sync_dist" not in log
