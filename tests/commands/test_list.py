"""`frostline list` names every run of a store, whatever state its record is in."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.advice_contents import make_advice_content

from frostline.commands import main
from frostline.results.record import Cost, Record
from frostline.tasks.declarations import Declaration, Metric

Say = Callable[..., list[str]]


def record(name: str, **changed: Any) -> Record:
    """The record of a finished run."""
    config = {
        "seed": 3,
        "monitor": "accuracy",
        "data": {"_target_": "frostline.data.image.datasets.Digits", "num_per_class": 20},
        "backbone": {"_target_": "frostline.backbones.traced.builders.efficientnet_lite", "name": "efficientnet_lite0"},
        "freeze": {"_target_": "frostline.freeze.strategies.last_k", "k": 2},
    }
    given = {"config": config, "status": "done", "metrics": {"test": {"accuracy": 0.9125}}, "cost": Cost(seconds=12.34)}
    return Record(id=name, **(given | changed))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Four runs that ended, the oldest first: a done, b failed, c done and better, d damaged; e has not ended."""
    runs = tmp_path / "runs"
    record("a").write(runs / "a")
    record("b", status="failed", reason="killed", metrics={}).write(runs / "b")
    record("c", metrics={"test": {"accuracy": 0.95}}, cost=Cost(seconds=99.0)).write(runs / "c")
    record("d").write(runs / "d")
    (runs / "d" / "record.json").write_text((runs / "d" / "record.json").read_text()[:200])
    (runs / "e").mkdir()
    for time, name in enumerate("abcd"):
        os.utime(runs / name / "record.json", (time, time))
    os.utime(runs / "d", (3, 3))
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command; return its lines."""

    def say(*arguments: object) -> list[str]:
        assert main(["list", *map(str, arguments)]) == 0
        return capsys.readouterr().out.splitlines()

    return say


def ids(lines: list[str]) -> list[str]:
    """The runs of a listing in columns, between its head and its last line."""
    return [line.split()[0] for line in lines[1:-1]]


def test_a_line_says_what_a_run_was(store: Path, said: Say) -> None:
    lines = said(store)
    assert lines[0].split() == "id written status data backbone freeze seed test score seconds".split()
    line = next(line for line in lines if line.startswith("a "))
    for word in (
        "done",
        "Digits(num_per_class=20)",
        "efficientnet_lite0",
        "last_k(k=2)",
        " 3 ",
        "0.9125 accuracy",
        "12.3",
    ):
        assert word in line
    assert lines[-1] == f"5 runs in {store / 'runs'}"


def test_the_newest_comes_first_and_every_run_is_there(store: Path, said: Say) -> None:
    assert ids(said(store)) == ["e", "d", "c", "b", "a"]


def test_order_and_filters(store: Path, said: Say) -> None:
    assert ids(said(store, "--sort", "score"))[:2] == ["c", "a"]
    assert ids(said(store, "--sort", "seconds"))[:3] == ["b", "a", "c"]
    assert ids(said(store, "--sort", "id")) == ["a", "b", "c", "d", "e"]
    assert ids(said(store, "--last", 2)) == ["e", "d"]
    assert ids(said(store, "--status", "done", "--last", "1", "--sort", "score")) == ["c"]
    assert ids(said(store, "--status", "unfinished")) == ["e"]


def test_the_best_comes_first_where_less_is_better(store: Path, said: Say) -> None:
    for name, metric, value in (("f", "rmse", 3.0), ("g", "rmse", 0.5), ("h", "r2", 0.2), ("i", "r2", 0.7)):
        one = record(name, metrics={"test": {metric: value}})
        one.config |= {"monitor": metric, "task": {"_target_": "frostline.tasks.regression.Regression"}}
        one.write(store / "runs" / name)
    assert ids(said(store, "--sort", "score"))[:6] == ["c", "a", "i", "h", "g", "f"]


def test_a_task_of_ones_own_says_what_is_better(store: Path, said: Say) -> None:
    declared = Declaration("odd", (Metric("surprise", lower_is_better=True),), "surprise").plain()
    for name, value in (("f", 3.0), ("g", 0.5)):
        one = record(name, metrics={"test": {"surprise": value}}, task={"name": "odd", "declaration": declared})
        one.config |= {"monitor": "surprise", "task": {"_target_": "mine.Odd"}}
        one.write(store / "runs" / name)
    assert ids(said(store, "--sort", "score"))[:4] == ["c", "a", "g", "f"]
    row = next(row for row in map(json.loads, said(store, "--json")) if row["id"] == "g")
    assert row["lower_is_better"] is True


BROKEN = {
    "nothing": b"",
    "half": b'{"id": "a", "status"',
    "another": b'["a", "list"]',
    "lacking": b'{"status": "done"}',
    "binary": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "odd": b'{"status": "done", "config": {"monitor": "accuracy", "data": 3}}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_record_is_named_and_stops_nothing(store: Path, said: Say, content: bytes) -> None:
    (store / "runs" / "b" / "record.json").write_bytes(content)
    assert sorted(ids(said(store, "--status", "damaged"))) == ["b", "d"]
    assert len(ids(said(store))) == 5
    found = {row["id"]: row for row in map(json.loads, said(store, "--json"))}
    assert found["b"]["status"] == "damaged" and found["b"]["reason"]


def test_json_has_the_numbers_as_they_are(store: Path, said: Say) -> None:
    row = next(row for row in map(json.loads, said(store, "--json")) if row["id"] == "a")
    assert (row["seed"], row["metric"], row["score"], row["seconds"]) == (3, "accuracy", 0.9125, 12.34)
    failed = next(row for row in map(json.loads, said(store, "--json")) if row["id"] == "b")
    assert failed["score"] is None and failed["reason"] == "killed"


def test_a_record_cannot_command_the_terminal(store: Path, said: Say) -> None:
    evil = record("a")
    evil.config["data"]["root"] = "\x1b[2J\nid done"
    evil.write(store / "runs" / "a")
    lines = said(store)
    assert len(lines) == 7 and "\x1b" not in "".join(lines)


def test_a_score_that_is_no_number_is_damage(store: Path, said: Say) -> None:
    record("a", metrics={"test": {"accuracy": "much"}}).write(store / "runs" / "a")
    assert sorted(ids(said(store, "--status", "damaged"))) == ["a", "d"]


def test_an_empty_store_and_none(tmp_path: Path, said: Say, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(tmp_path)[-1] == f"0 runs in {tmp_path / 'runs'}"
    assert main(["list", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
    assert main(["list", str(tmp_path), "--last", "0"]) == 2
    assert "--last: 0 is invalid: expected a whole number of 1 or more." in capsys.readouterr().err


def test_advice_is_listed_by_its_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "advice" / "mine"
    folder.mkdir(parents=True)
    content = make_advice_content()
    (folder / "advice.json").write_text(json.dumps(content))
    (tmp_path / "advice" / "broken").mkdir()
    (tmp_path / "advice" / "broken" / "advice.json").write_text("{}")
    assert main(["list", "--advice", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert content["answer"]["name"] in shown and "damaged" in shown and "2 in " in shown
    assert main(["list", "--advice", "--json", "--last", "1", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["list", "--advice", "--sort", "score", str(tmp_path)]) == 2
