"""Reading: comparisons, and sets of runs whose strategies and blocks follow from their configs."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frostline.errors import UserError
from frostline.report import write_report
from frostline.report.read.answers import Classes
from frostline.report.read.axes import name_comparison_block, name_level, name_strategy
from frostline.report.read.comparison import read_comparison
from frostline.report.read.details import find_phase_starts, read_confusion, read_curve, read_mistakes
from frostline.report.read.predictions import read_all_answers
from frostline.report.read.runs import RunSummary
from frostline.report.statistics.analysis import Analysis
from frostline.tasks.declarations import MULTICLASS, MULTILABEL


def changed(folder: Path, source: Path, seed: int | None = None, **values: Any) -> Path:
    """Copy a run's folder and change its record at dotted paths (with __ for the dots)."""
    shutil.copytree(source, folder)
    record = json.loads((folder / "record.json").read_text())
    if seed is not None:
        record["config"]["seed"] = seed
    for path, value in values.items():
        *nodes, last = path.split("__")
        node = record
        for name in nodes:
            node = node[name]
        node[last] = value
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def test_real_runs_are_placed_by_their_configs(real_runs: Path) -> None:
    study = read_comparison([real_runs])
    assert study.factor == "freeze" and study.blocks == [()]
    assert set(study.labels) == {"linear_probe", "last_k(k=1)"}
    assert len(study.runs) == 2
    for run in study.runs:
        assert run.done and 0 < run.scores["accuracy"] <= 1 and run.costs["seconds"] > 0
        assert run.costs["flops"] == run.costs["forward_flops"] + run.costs["backward_flops"]


def test_folders_records_and_folders_of_runs_come_to_the_same(real_runs: Path) -> None:
    folders = sorted(path for path in real_runs.iterdir())
    whole = read_comparison([real_runs])
    assert read_comparison(folders).runs == whole.runs
    assert read_comparison([folder / "record.json" for folder in folders] + folders[:1]).runs == whole.runs


def test_what_differs_beside_the_strategy_makes_blocks(template: Path, tmp_path: Path) -> None:
    for number in (5, 20):
        for seed in (0, 1):
            changed(tmp_path / f"{number}-{seed}", template, seed, config__data__num_per_class=number)
    study = read_comparison([tmp_path])
    assert study.blocks == [(("data.num_per_class", "20"),), (("data.num_per_class", "5"),)]
    assert study.axes["data.num_per_class"] == ["20", "5"]


def test_a_rate_that_follows_from_the_strategy_is_no_block_but_a_swept_one_is(template: Path, tmp_path: Path) -> None:
    full = {"_target_": "frostline.freeze.strategies.full"}
    changed(tmp_path / "a", template, config__optimizer__lr=0.01)
    changed(tmp_path / "b", template, config__optimizer__lr=0.001, config__freeze=full)
    assert read_comparison([tmp_path]).blocks == [()]
    changed(tmp_path / "c", template, config__optimizer__lr=0.1, config__freeze=full)
    assert {name_comparison_block(block) for block in read_comparison([tmp_path]).blocks} == {"0.01", "0.001", "0.1"}


def test_data_sets_are_blocks_even_where_each_strategy_had_its_own(template: Path, tmp_path: Path) -> None:
    changed(tmp_path / "a", template)
    full = {"_target_": "frostline.freeze.strategies.full"}
    changed(
        tmp_path / "b", template, config__data___target_="frostline.data.image.datasets.Mnist5k", config__freeze=full
    )
    assert [name_comparison_block(block) for block in read_comparison([tmp_path]).blocks] == ["digits", "mnist5k"]


def test_what_only_says_where_a_run_went_is_no_block(template: Path, tmp_path: Path) -> None:
    changed(tmp_path / "a", template, 0, config__outputs="/here", config__label="x", config__launcher={"threads": 1})
    changed(tmp_path / "b", template, 1, config__outputs="/there", config__label="y", config__data__workers=4)
    assert read_comparison([tmp_path]).blocks == [()]


def test_copies_of_a_run_count_once_and_trials_not_at_all(template: Path, tmp_path: Path) -> None:
    changed(tmp_path / "a", template, 0, status="failed", reason="killed")
    changed(tmp_path / "b", template, 0)
    changed(tmp_path / "c", template, 1)
    changed(tmp_path / "d", template, 2, config__test=False, metrics__test={})
    study = read_comparison([tmp_path])
    assert [(run.seed, run.status) for run in study.runs] == [(0, "done"), (1, "done")]
    assert len(study.notes) == 2 and "copies" in study.notes[0] and "1 run" in study.notes[1]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("status", "diverged", "diverged"),
        ("metrics__test__accuracy", None, "metrics.test.accuracy is None"),
        ("metrics__test__accuracy", True, "metrics.test.accuracy is True"),
        ("metrics__test", {}, "metrics.test.accuracy is None"),
        ("cost__seconds", "4", "cost.seconds is '4'"),
    ],
)
def test_a_run_without_its_numbers_has_no_result_and_is_in_no_mean(
    template: Path, tmp_path: Path, path: str, value: object, said: str
) -> None:
    changed(tmp_path / "a", template, 0)
    changed(tmp_path / "b", template, 1, **{path: value})
    analysis = Analysis(read_comparison([tmp_path]))
    (label,) = analysis.labels
    found = analysis.score(label, None)
    assert found is not None and found.n == 1
    (failure,) = analysis.failures
    assert said in (failure.status, failure.reason) or said in failure.reason


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("status", "<b>", "status is '<b>', not one of"),
        ("metrics", [], "metrics is [], not an object"),
        ("config", 3, "config is 3, not an object"),
    ],
)
def test_a_damaged_record_is_left_out_and_named(
    template: Path, tmp_path: Path, path: str, value: object, said: str
) -> None:
    """Promise 43."""
    changed(tmp_path / "a", template, 0)
    changed(tmp_path / "b", template, 1, **{path: value})
    study = read_comparison([tmp_path])
    assert [run.seed for run in study.runs] == [0]
    (note,) = study.notes
    assert note.startswith("Left out: b (its record is damaged: ") and said in note
    with pytest.raises(UserError, match="its record is damaged"):
        read_comparison([tmp_path / "b"])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"config": 3}', "\x00"])
def test_a_damaged_record_is_a_run_without_a_result(comparison: Any, content: str) -> None:
    folder = comparison({"full": (0.9, 1.0)})
    (folder / "../../runs/r0001/record.json").write_text(content)
    shutil.rmtree(folder / "../../runs/r0002")
    analysis = Analysis(read_comparison([folder]))
    assert [(run.seed, run.status) for run in analysis.failures] == [(1, "damaged"), (2, "missing")]
    assert "damaged" in analysis.failures[0].reason and "no record" in analysis.failures[1].reason


def test_a_comparison_places_its_runs_itself(comparison: Any) -> None:
    folder = comparison(blocks=[{"data": "digits"}, {"data": "mnist5k"}], lr_grid=[0.001, 0.01])
    study = read_comparison([folder])
    assert study.labels == ["linear_probe", "last_k(k=1)", "full", "scratch"]
    assert study.blocks == [(("data", "digits"),), (("data", "mnist5k"),)]
    assert (
        len(study.runs) == 24 and study.command == "frostline compare data=digits" and study.metric.name == "accuracy"
    )


def test_comparisons_and_runs_together(comparison: Any, real_runs: Path) -> None:
    folder = comparison({"full": (0.9, 1.0)})
    shutil.rmtree(folder / "../../runs/r0002")
    study = read_comparison([folder, real_runs])
    assert len(study.runs) == 5 and set(study.labels) == {"full", "linear_probe", "last_k(k=1)"}
    (missing,) = [run for run in study.runs if not run.done]
    assert (missing.label, missing.seed, missing.status) == ("full", 2, "missing")


def test_a_record_or_its_task_names_the_metric(template: Path, tmp_path: Path) -> None:
    config = json.loads((template / "record.json").read_text())["config"]
    silent = {key: value for key, value in config.items() if key != "monitor"}
    tags = {"_target_": "frostline.tasks.multilabel.Multilabel"}
    scores = {"test": {"macro_f1": 0.4, "accuracy": 0.9}}
    changed(tmp_path / "tags", template, config=silent | {"task": tags}, metrics=scores)
    changed(tmp_path / "odd", template, config=silent | {"task": {"_target_": "mine.Odd"}}, task={}, metrics=scores)
    known, odd = read_comparison([tmp_path / "tags"]), read_comparison([tmp_path / "odd"])
    assert known.metric == MULTILABEL.metric("macro_f1") and known.runs[0].done
    assert odd.runs[0].status == "failed" and "names the metric" in odd.runs[0].reason


def test_no_metric_is_assumed_where_no_run_left_a_record(comparison: Any) -> None:
    folder = comparison({"full": (0.9, 1.0)}, seeds=[0])
    shutil.rmtree(folder / "../../runs/r0000")
    found = read_comparison([folder])
    page = (write_report(folder, found).parent / "report.md").read_text()
    assert found.metric.name == "score" and "accuracy" not in page


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 2}', '{"format": 2, "runs": 3}'])
def test_a_comparison_that_cannot_be_read_is_a_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "comparison.json").write_text(content)
    with pytest.raises(UserError, match=r"comparison\.json: this is no comparison \(.*frostline compare"):
        read_comparison([tmp_path])


@pytest.mark.parametrize("entry", [{}, 3, {"path": 3}, {"path": "x", "label": "a", "block": [], "seed": 0}])
def test_an_entry_of_another_form_is_a_clear_error(comparison: Any, entry: object) -> None:
    with pytest.raises(UserError, match=r"this is no comparison \(runs\[0\]"):
        read_comparison([comparison({"full": (0.9, 1.0)}, seeds=[], runs=[entry])])


def test_a_path_that_is_neither_is_a_clear_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UserError, match=f"{path}: this is no comparison's folder"):
            read_comparison([path])


def test_names_of_strategies() -> None:
    assert name_strategy({"_target_": "frostline.freeze.strategies.full"}) == "full"
    assert name_strategy({"_target_": "frostline.freeze.strategies.last_k", "k": 2}) == "last_k(k=2)"
    assert name_strategy({"_target_": "x.surgical", "train": ["a", "b"]}) == 'surgical(train=["a", "b"])'
    assert name_level("a" * 100) != name_level("a" * 99 + "b") and len(name_level("a" * 100)) < 70


def test_real_curves_confusions_mistakes_and_predictions(template: Path) -> None:
    (run,) = read_comparison([template]).runs
    found, table = read_curve(run, "accuracy"), read_confusion(run)
    assert found is not None and list(found.epochs) == [1, 2] and all(0 <= value <= 1 for value in found.values)
    assert table is not None and np.trace(table) / table.sum() == pytest.approx(run.scores["accuracy"])
    wrong = read_mistakes(run)
    assert wrong and all(one.label != one.prediction and one.picture for one in wrong)
    read_answers, why = read_all_answers([run], {(): ""}, MULTICLASS.metric("accuracy"))
    (one,) = read_answers[run.label].values()
    assert (
        isinstance(one, Classes)
        and not why
        and np.mean(one.labels == one.predictions) == pytest.approx(run.scores["accuracy"])
    )


def test_a_record_puts_no_other_file_into_a_report(template: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes((template / "mistakes/00.png").read_bytes())
    names = ["../secret.png", str(tmp_path / "secret.png"), "record.json", "mistakes/link.png", 3, None]
    wrong = [{"sample": "s", "label": "a", "prediction": "b", "probability": 1, "picture": name} for name in names]
    folder = changed(tmp_path / "run", template, mistakes=wrong)
    (folder / "mistakes/link.png").symlink_to(tmp_path / "secret.png")
    (run,) = read_comparison([folder]).runs
    assert [one.picture for one in read_mistakes(run)] == [None] * len(names)


def test_predictions_on_other_samples_are_not_paired(comparison: Any) -> None:
    study = read_comparison([comparison({"full": (0.9, 1.0), "scratch": (0.4, 1.0)})])
    path = study.runs[-1].folder / "predictions.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    found, why = read_all_answers(study.runs, {(): ""}, MULTICLASS.metric("f1"))
    assert not found and "scratch, seed 2, was tested on other samples" in why
    path.write_text("sample,label\n1,2\n")
    assert "left no predictions" in read_all_answers(study.runs, {(): ""}, MULTICLASS.metric("f1"))[1]


def test_phases_begin_where_the_one_before_ends() -> None:
    plan = {"phases": [{"name": "head", "epochs": 2}, {"name": "top", "epochs": 3}, {"name": "all", "epochs": 5}]}
    assert find_phase_starts(RunSummary("a", (), 0, Path(), plan=json.dumps(plan))) == [(2, "top"), (5, "all")]
    assert find_phase_starts(RunSummary("a", (), 0, Path())) == []


def test_too_many_predictions_are_not_read(comparison: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = read_comparison([comparison({"full": (0.9, 1.0)})]).runs
    monkeypatch.setattr("frostline.report.read.predictions.MOST_ANSWERS", 1000)
    assert read_all_answers(runs, {(): ""}, MULTICLASS.metric("accuracy")) == (
        {},
        "there are more than 1,000 test predictions",
    )
    assert read_all_answers(runs[:2], {(): ""}, MULTICLASS.metric("accuracy"))[0]
