"""The report's files: complete, escaped, and the same for the same records."""

import csv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from frostline.report import write_report
from frostline.report.compare import rows
from frostline.report.picture import draw
from frostline.report.text import cell, markdown

HOSTILE = "<script>alert(1)</script>|`x`\n# title [a](http://b) *c* __d__"
STRATEGIES = {
    "scratch": (0.36, 3_400_000, 31.0),
    "linear_probe": (0.79, 12_810, 4.0),
    "last_k(k=2)": (0.80, 1_030_410, 11.0),
    "full": (0.79, 3_383_818, 32.0),
    "lp_ft": (0.81, 3_383_818, 24.0),
    "gradual": (0.80, 3_383_818, 26.0),
    "norm_only": (0.80, 54_000, 29.0),
}


def record(accuracy: float, trainable: int, seconds: float) -> dict[str, Any]:
    return {
        "status": "done",
        "config": {"monitor": "accuracy", "data": {"root": "photos"}},
        "versions": {"frostline": "0.1.0", "torch": "2.14.1"},
        "git": {"commit": "0123abcd", "dirty": False},
        "data": {"fingerprint": "a" * 64, "counts": {"train": 8, "test": 4}, "classes": ["cat", "dog"]},
        "backbone": {"name": "efficientnet_lite0", "fingerprint": "f" * 64},
        "parameters": {"total": 3_400_000, "trainable": [12_810, trainable]},
        "metrics": {"test": {"accuracy": accuracy, "balanced_accuracy": accuracy - 0.01, "f1": accuracy - 0.02}},
        "epochs": 10,
        "cost": {"seconds": seconds, "seconds_saved": 5.5},
    }


@pytest.fixture
def runs() -> list[dict[str, Any]]:
    return [
        {"label": label, "seed": seed, "record": record(score + 0.01 * seed, trainable, seconds + seed)}
        for label, (score, trainable, seconds) in STRATEGIES.items()
        for seed in range(3)
    ]


def test_report_holds_every_part_in_order(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    runs[0]["record"] = {"status": "diverged", "reason": "the loss is NaN", "config": {}}
    text = write_report(tmp_path / "demo", runs, "frostline compare seed=1").read_text()
    parts = ["# demo", "lp_ft has the best mean", "accuracy_cost.svg", "## Results", "## Runs without", "## How it was"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "| lp_ft | 3 | 0.8200 | 0.0100 | 0.8100, 0.8200, 0.8300 | 3,383,818 | 3,383,818 | 25.0 | 5.5 | 0 |" in text
    assert "| scratch | 0 | diverged | the loss is NaN |" in text
    assert "    frostline compare seed=1\n" in text
    for fact in ("photos", "train 8, test 4", "efficientnet_lite0", "ffffffffffff"):
        assert fact in text


def test_csv_is_complete_and_exact(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    runs[0]["record"] = None
    write_report(tmp_path, runs)
    with (tmp_path / "report.csv").open(newline="") as file:
        lines = {line["strategy"]: line for line in csv.DictReader(file)}
    assert set(lines) == set(STRATEGIES)
    assert lines["scratch"]["n"] == "2" and lines["scratch"]["missing"] == "1"
    assert [float(value) for value in lines["full"]["accuracy_values"].split()] == pytest.approx([0.79, 0.80, 0.81])
    assert float(lines["full"]["accuracy_deviation"]) == pytest.approx(0.01)
    assert float(lines["full"]["f1_mean"]) == pytest.approx(0.78)
    assert float(lines["full"]["balanced_accuracy_mean"]) == pytest.approx(0.79)
    assert lines["full"]["trainable_most"] == "3383818"


def test_pictures_open_and_repeat(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    for name in ("a", "b"):
        write_report(tmp_path / name, runs)
    assert ElementTree.parse(tmp_path / "a" / "accuracy_cost.svg").getroot().tag.endswith("svg")
    with Image.open(tmp_path / "a" / "accuracy_cost.png") as image:
        assert image.width > 1000
    for kind in ("svg", "png"):
        first, second = (tmp_path / name / f"accuracy_cost.{kind}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_names_in_the_picture_overlap_nothing(runs: list[dict[str, Any]]) -> None:
    figure = draw(rows(runs, "accuracy"), "accuracy", "accuracy")
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == len(STRATEGIES)
        assert not any(one.overlaps(two) for place, one in enumerate(boxes) for two in boxes[:place])


def test_nothing_finished(tmp_path: Path) -> None:
    text = write_report(tmp_path, [{"label": "full", "seed": 0, "record": None}]).read_text()
    assert "No run finished" in text and "the run left no record" in text
    assert not (tmp_path / "accuracy_cost.svg").exists()


def test_hostile_text_stays_text(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        run["record"]["data"]["classes"] = [HOSTILE]
        run["record"]["config"] = {"data": {"root": HOSTILE}}
    runs.append({"label": HOSTILE, "seed": 0, "record": {"status": "failed", "reason": HOSTILE}})
    runs.append({"label": f"$\\frac{HOSTILE}", "seed": 0, "record": record(0.5, 10, 1.0)})
    text = write_report(tmp_path, runs, HOSTILE).read_text()
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    assert not [token for token in tokens if token.type == "html_block"]
    assert {token.type for token in inline} <= {"text", "strong_open", "strong_close", "image", "text_special"}
    assert [token.tag for token in tokens if token.type == "heading_open"].count("h1") == 1
    failures = [token.content for token in tokens if token.type == "inline" and "alert(1)" in token.content]
    assert failures


def test_values_that_differ_stand_with_their_strategies(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        run["record"]["data"]["fingerprint"] = str(run["seed"]) * 64
        if run["label"] == "scratch":
            run["record"] |= {"plan": {"pretrained": False}, "backbone": {"name": "net", "fingerprint": "r" * 64}}
    runs.append({"label": "gradual", "seed": 3, "record": {"status": "failed", "reason": "killed", "epochs": 0}})
    text = write_report(tmp_path, runs).read_text()
    assert "net, random weights (scratch); efficientnet_lite0, weights ffffffffffff (linear_probe, " in text
    assert "- Epochs: 10\n" in text
    assert "fingerprint 000000000000; photos" in text


def test_a_table_row_keeps_its_columns(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    runs[0] = {"label": "a|b", "seed": 0, "record": {"status": "failed", "reason": "x|y\nz"}}
    text = write_report(tmp_path, runs).read_text()
    assert "| a&#124;b | 0 | failed | x&#124;y z |" in text


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    escaped = markdown(text)
    assert not set(escaped) & set("\n\r|<>`*[]\\")
    if escaped:
        parsed = MarkdownIt("commonmark", {"html": True}).renderInline(f"a {escaped}")
        assert "<" not in parsed


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-x", "@sum", "  =1", "-1 0"])
def test_cells_that_would_run_are_neutralised(text: str) -> None:
    assert str(cell(text)).startswith("'")


@pytest.mark.parametrize("value", ["-1.5", "+2e3", 3, -0.5, "full", ""])
def test_numbers_and_words_stay(value: object) -> None:
    assert cell(value) == value


def test_differing_data_is_warned_of(tmp_path: Path, runs: list[dict[str, Any]]) -> None:
    runs[-1]["record"]["data"]["fingerprint"] = "b" * 64
    assert "> **Warning:** the runs did not use the same data" in write_report(tmp_path, runs).read_text()
