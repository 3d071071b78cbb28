"""Runs of every task, from its config to what a run leaves behind; the digits are classes, tags or numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.finished_runs import rows

from frostline.errors import UserError
from frostline.freeze import strategies
from frostline.results.record import Record

RunOne = Callable[..., tuple[Record, Path]]
FEW = ("data.num_per_class=null", "data.fraction=0.06")


def test_numbers_are_solved_then_stepped_and_told_in_their_own_unit(run: RunOne) -> None:
    record, folder = run("task=regression", *FEW)
    assert record.config["monitor"] == "rmse" and record.task["name"] == "regression"
    assert record.task["mean"] == pytest.approx(4.5, abs=1) and record.task["deviation"] == pytest.approx(2.87, abs=0.5)
    predictions, metrics = rows(folder / "predictions.csv"), rows(folder / "metrics.csv")
    errors = [float(row["prediction"]) - float(row["label"]) for row in predictions]
    assert record.metrics["test"]["mae"] == pytest.approx(sum(map(abs, errors)) / len(errors), abs=1e-4)
    assert float(metrics[0]["val/rmse"]) < record.task["deviation"], "the solved head beats the mean"
    assert min(float(row["val/rmse"]) for row in metrics) == record.metrics["val"]["rmse"], "a low error is a good one"
    assert record.confusion == [] and len(record.mistakes) == 12
    worst = record.mistakes[0]
    assert worst["error"] == pytest.approx(max(map(abs, errors)), abs=1e-4) and worst["picture"]


def test_tags_are_solved_then_stepped(run: RunOne) -> None:
    record, folder = run("task=multilabel", *FEW)
    assert record.config["monitor"] == "macro_f1" and record.confusion == []
    predictions = rows(folder / "predictions.csv")
    right = [row["label"] == row["prediction"] for row in predictions]
    assert record.metrics["test"]["exact_match"] == pytest.approx(sum(right) / len(right))
    assert float(rows(folder / "metrics.csv")[0]["train/exact_match"]) > 0.5
    assert all(0 <= float(predictions[0][f"p({digit})"]) <= 1 for digit in range(10))


def test_weights_and_balanced_draws_change_what_is_learnt(run: RunOne) -> None:
    stepped = ("freeze=linear_probe", "head.solver=null", "epochs=1", *FEW)
    weights = f"task.class_weights=[{','.join(['9'] + ['1'] * 9)}]"
    plain, weighted, balanced = (run(*stepped, *more)[0] for more in ([], [weights], ["data.balanced=true"]))
    losses = [record.metrics["train"]["loss"] for record in (plain, weighted, balanced)]
    assert len(set(losses)) == 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["task=regression", "task.loss=huber", *FEW], r"^head\.solver: task=regression is learnt in steps only"),
        (["data.balanced=true"], r"^data\.balanced: a solved head sees every sample once"),
        (["task=regression", "monitor=accuracy"], r"^monitor: 'accuracy' is not known; choose one of: rmse, mae"),
        (["task.label_smoothing=1.0"], r"^task\.label_smoothing: 1\.0 is invalid"),
        (["task.labels=2"], r"^task\.labels: there is no such key"),
        (["task=regression"], r"^data\.num_per_class: with task=regression"),
    ],
)
def test_what_does_not_go_together_is_said(run: RunOne, overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(*overrides)


def test_outputs_for_sequences_are_padded_to_the_longest_batch(build) -> None:
    module = build(strategies.linear_probe, epochs=1).module
    for length, indices in ((2, [1, 0]), (3, [2])):
        place = torch.tensor(indices)
        outputs = torch.full((len(indices), length, 4), float(length))
        module.outputs.append({"outputs": outputs, "label": place[:, None], "index": place})
    found = module.collect_outputs()["outputs"]
    assert found.shape == (3, 3, 4) and found[0, 2].isnan().all() and found[:, :2].isfinite().all()
    assert found[2].tolist() == [[3.0] * 4] * 3
