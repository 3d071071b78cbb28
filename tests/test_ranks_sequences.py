"""Sequences and adapters on several ranks: the numbers of one, and equal weights after every phase."""

from pathlib import Path
from typing import Any

import pytest
from tests.finished_runs import rows
from tests.sequences import save_bert, write_texts

from frostline.config.compose import compose, resolve
from frostline.launchers.dispatch import Outcome, dispatch

pytestmark = pytest.mark.slow
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # each rank would drop others


def run(folder: Path, ranks: int, *overrides: str) -> Outcome:
    network = ["backbone=transformers", f"backbone.name={folder / 'bert'}", "trainer=ddp_cpu", "launcher.threads=1"]
    given = [*network, f"trainer.devices={ranks}", f"outputs={folder / 'outputs'}", *overrides]
    outcome = dispatch(resolve(compose("run", given)))
    assert outcome.record["status"] == "done", outcome.record["reason"]
    return outcome


def sums(outcome: Outcome) -> list[str]:
    """Return what the two ranks said of their weights after each phase."""
    lines = (outcome.folder / "log.txt").read_text().splitlines()
    return [line.rpartition(": ")[2] for line in lines if "all 2 ranks hold the same" in line]


def test_two_ranks_read_texts_of_many_lengths_as_one_does(tmp_path: Path) -> None:
    """Five steps of all fourteen texts at once, shared out by length."""
    save_bert(tmp_path / "bert", **STILL)
    data = ["data=text_csv", f"data.root={write_texts(tmp_path / 'texts')}", "data.tokens=12", "data.batch_size=14"]
    alone, together = (run(tmp_path, ranks, *data, "freeze=full", "epochs=5") for ranks in (1, 2))
    assert len(set(sums(together))) == 1
    for one, other in zip(rows(alone.folder / "metrics.csv"), rows(together.folder / "metrics.csv"), strict=True):
        assert float(one["train/loss"]) == pytest.approx(float(other["train/loss"]), abs=1e-5)
    metrics: list[dict[str, Any]] = [outcome.record["metrics"]["test"] for outcome in (alone, together)]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-4)


@pytest.mark.parametrize("head", ["layer_mix", "attentive"])
@pytest.mark.parametrize("cache", [True, False])
def test_two_ranks_read_depths_as_one_does(head: str, cache: bool, tmp_path: Path) -> None:
    """What scales the depths is measured by the first rank, on what both have computed."""
    save_bert(tmp_path / "bert", **STILL)
    data = ["data=text_csv", f"data.root={write_texts(tmp_path / 'texts')}", "data.tokens=12", "data.batch_size=14"]
    given = [
        *data,
        f"head={head}",
        "head.dropout=0",
        f"cache.enabled={cache}",
        "freeze=last_k",
        "freeze.k=1",
        "epochs=5",
    ]
    alone, together = (run(tmp_path, ranks, *given) for ranks in (1, 2))
    assert len(set(sums(together))) == 1
    for one, other in zip(rows(alone.folder / "metrics.csv"), rows(together.folder / "metrics.csv"), strict=True):
        assert float(one["train/loss"]) == pytest.approx(float(other["train/loss"]), abs=1e-5)
    assert together.record["metrics"]["test"] == pytest.approx(alone.record["metrics"]["test"], abs=1e-4)


@pytest.mark.parametrize("freeze", ["full", "orca", "fpt", "chain_thaw"])
def test_two_ranks_hold_equal_weights_behind_an_adapter(freeze: str, tmp_path: Path) -> None:
    save_bert(tmp_path / "bert")
    data = ["data=digits", "data.size=8", "data.num_per_class=5", "adapter=patches"]
    outcome = run(tmp_path, 2, *data, f"freeze={freeze}", "head.solver=null", "epochs=6", "data.batch_size=8")
    phases = len(outcome.record["plan"]["phases"])
    assert len(sums(outcome)) == 2 * phases and len(set(sums(outcome))) == phases
    assert outcome.record["moved"]["adapter"] > 0
