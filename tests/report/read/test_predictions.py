"""Reports of tags and of numbers: their scores under resampling are the tasks' own, and the page speaks of them."""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.configs import make

from frostline.report import read_comparison, write_report
from frostline.report.read.answers import Numbers, Rates, Tags
from frostline.report.read.predictions import FORMS
from frostline.report.read.runs import RunSummary
from frostline.report.statistics.analysis import Analysis
from frostline.tasks.declarations import Declaration, Metric

STRATEGIES = {"full": (0.9, 30.0), "linear_probe": (0.6, 4.0)}


def repeated(samples: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights of samples [1, N], and the samples so often."""
    weights = draw.multinomial(samples, np.full(samples, 1 / samples))
    return weights[None].astype(float), np.repeat(np.arange(samples), weights)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 30))
def test_scores_of_tags_are_those_of_the_task(seed: int, classes: int, samples: int) -> None:
    draw = np.random.default_rng(seed)
    labels, predictions = (draw.random((samples, classes)) < rate for rate in (0.3, 0.4))
    weights, places = repeated(samples, draw)
    logits = torch.from_numpy(predictions[places]).float() * 2 - 1
    expected = make("task/multilabel").scores(logits, torch.from_numpy(labels[places]).float())
    for metric in Tags.metrics:
        (found,) = Tags(labels, predictions).score(weights, metric)
        assert found == pytest.approx(expected[metric], abs=1e-6), metric


@given(st.integers(0, 10_000), st.integers(4, 30))
def test_scores_of_numbers_are_those_of_the_task(seed: int, samples: int) -> None:
    draw = np.random.default_rng(seed)
    labels = draw.normal(50, 10, samples)
    predictions = labels + draw.normal(1, 5, samples)
    weights, places = repeated(samples, draw)
    assume(len(set(places.tolist())) > 2)
    outputs = torch.from_numpy(predictions[places])[:, None].float()
    expected = make("task/regression").scores(outputs, torch.from_numpy(labels[places]))
    for metric in Numbers.metrics:
        (found,) = Numbers(labels, predictions).score(weights, metric)
        assert found == pytest.approx(expected[metric], rel=1e-3, abs=1e-3), metric


def test_rates_are_errors_of_all_over_parts_of_all() -> None:
    one = Rates(np.array(["a b", "c"]), {"wer": np.array([[1.0, 2.0], [0.0, 1.0]])})
    assert one.score(np.array([[1.0, 1.0], [0.0, 2.0], [2.0, 0.0]]), "wer").tolist() == pytest.approx([1 / 3, 0, 1 / 2])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_rates_in_a_table_are_those_of_the_task(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    task, classes = make("task/ctc"), [" ", "a", "b"]
    task.fit(torch.zeros(0, 0), classes)
    labels = task.encode(["a ba ab", "b", "ab ab a"], classes)
    outputs = torch.randn(3, 9, 4, generator=generator)
    outputs[1, 5:] = torch.nan
    table = [{key: str(cell) for key, cell in row.items()} for row in task.predictions("xyz", classes, labels, outputs)]
    assert list(table[0])[:3] == ["sample", "label", "prediction"]
    answered, expected = FORMS["rates"].read(RunSummary("ctc", (), 0, Path()), table), task.scores(outputs, labels)
    for metric in Rates.metrics:
        assert answered.score(np.ones((1, 3)), metric)[0] == pytest.approx(expected[metric]), metric


def retold(
    folder: Path, task: dict[str, Any], metric: str, tell: Callable[[str, float], tuple[str, str]], **more: Any
) -> Path:
    """Let the runs of a comparison have had another task: ``tell`` makes a label and an answer of a digit's name."""
    for path in sorted((folder.parents[1] / "runs").glob("r*/record.json")):
        record = json.loads(path.read_text())
        skill = STRATEGIES[record["config"]["freeze"]["_target_"].rpartition(".")[2]][0]
        rows = csv.DictReader((path.parent / "predictions.csv").read_text().splitlines())
        told = [(row["sample"], *tell(row["label"], skill)) for row in rows]
        with (path.parent / "predictions.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("sample", "label", "prediction"), *told])
        record["config"] |= {"task": task, "monitor": metric}
        record["confusion"] = []
        record["data"] |= more.get("data", {})
        record["mistakes"] = [one | more.get("mistake", {}) for one in record["mistakes"]]
        record["metrics"]["test"] = {metric: more["score"](told), "loss": 0.5}
        path.write_text(json.dumps(record))
    return folder


def test_a_report_of_numbers(comparison: Any) -> None:
    draw = random.Random(0)

    def tell(label: str, skill: float) -> tuple[str, str]:
        return f"{int(label) * 1000}", f"{int(label) * 1000 + draw.gauss(0, 3000 * (1 - skill)):.7g}"

    def rmse(told: list[tuple[str, str, str]]) -> float:
        return float(np.sqrt(np.mean([(float(one[1]) - float(one[2])) ** 2 for one in told])))

    task = {"_target_": "frostline.tasks.regression.Regression", "loss": "mse"}
    folder = comparison(STRATEGIES)
    retold(folder, task, "rmse", tell, score=rmse, data={"classes": []}, mistake={"error": 4321.0})
    analysis = Analysis(read_comparison([folder]))
    assert analysis.best == "full" and analysis.metric.lower_is_better and not analysis.unresampled
    (found,) = analysis.differences
    assert found.bootstrap is not None and found.mean > 0 and found.apart
    page = (write_report(folder, read_comparison([folder])).parent / "report.md").read_text()
    assert "full has the lowest mean test RMSE" in page and "It can be told apart from the other one" in page
    assert "confus" not in page and "\n## Classes" not in page
    assert "with its largest errors" in page and "| regression |" in page.replace("  ", " ")


def test_a_report_of_tags(comparison: Any) -> None:
    draw = random.Random(0)

    def tell(label: str, skill: float) -> tuple[str, str]:
        true = [label, "0"] if int(label) % 2 else []
        said = [one for one in dict.fromkeys([*true, "9"]) if (one in true) == (draw.random() < skill)]
        return ";".join(true), ";".join(said)

    def exact(told: list[tuple[str, str, str]]) -> float:
        return sum(one[1] == one[2] for one in told) / len(told)

    task = {"_target_": "frostline.tasks.multilabel.Multilabel", "separator": ";"}
    folder = retold(comparison(STRATEGIES), task, "exact_match", tell, score=exact)
    analysis = Analysis(read_comparison([folder]))
    (found,) = analysis.differences
    assert not analysis.unresampled and found.bootstrap is not None
    assert analysis.score("full", None).mean == pytest.approx(  # type: ignore[union-attr]
        np.mean([run.scores["exact_match"] for run in analysis.cell("full", None)])
    )
    page = (write_report(folder, read_comparison([folder])).parent / "report.md").read_text()
    assert "exact match" in page and "## Classes" in page and "test scores of each class" in page


def test_a_metric_that_answers_do_not_tell_has_no_bootstrap(comparison: Any) -> None:
    def listened(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        record["config"]["monitor"] = "loss"

    analysis = Analysis(read_comparison([comparison(STRATEGIES, change=listened)]))
    assert analysis.unresampled == "loss does not follow from labels and predictions alone"


def test_a_task_of_ones_own_is_judged_as_it_declares(comparison: Any) -> None:
    declared = Declaration("odd", (Metric("surprise", "mean surprise", lower_is_better=True, low=0.0),), "surprise")

    def own(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        record["config"] |= {"monitor": "surprise", "task": {"_target_": "mine.Odd"}}
        record["task"] = {"name": "odd", "metrics": ["surprise"], "declaration": declared.plain()}
        record["metrics"]["test"] = {"surprise": STRATEGIES[label][0] + seed / 100}

    folder = comparison(STRATEGIES, change=own)
    analysis = Analysis(read_comparison([folder]))
    assert analysis.labels == ["linear_probe", "full"] and analysis.metric == declared.metrics[0]
    page = (write_report(folder, read_comparison([folder])).parent / "report.md").read_text()
    assert "linear_probe has the lowest mean test mean surprise" in page and "| task | odd |" in page
