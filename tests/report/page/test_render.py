"""The report's files: complete, in order, escaped, and the same for the same records."""

import base64
import csv
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from frostline.files.csv_tables import read_csv
from frostline.report import read_comparison, write_report
from frostline.report.page.escaping import escape_paragraph, escape_tex

HOSTILE = "<script>alert(1)</script>|`x`\n# t [a](http://b) *c* __d__ \\input{x} $e$ 50% & \u00fc \u202e ]]> =1"
SECTIONS = (
    "Accuracy against cost",
    "Results",
    "Differences",
    "Costs",
    "Learning curves",
    "What changed",
    "Classes",
    "Mistakes",
    "No result",
    "How it was done",
)


class Parsed(HTMLParser):
    """What a browser would make of a page: its tags, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def report(folder: Path, out: Path | None = None) -> Path:
    return write_report(out or folder, read_comparison([folder])).parent


def in_order(text: str, *parts: str) -> bool:
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


def fail(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
    if (label, seed) == ("scratch", 1):
        record |= {"status": "diverged", "reason": "the loss is NaN"}


def test_a_report_of_real_runs_says_everything_in_order(real_runs: Path, tmp_path: Path) -> None:
    write_report(tmp_path, read_comparison([real_runs]))
    page, text = Parsed((tmp_path / "report.html").read_text()), (tmp_path / "report.md").read_text()
    assert in_order(text, *(f"## {title}" for title in SECTIONS if title != "No result"))
    assert in_order(page.text.split("How it was done", 1)[1], *(title for title in SECTIONS if title != "No result"))
    assert "last_k(k=1)" in text and "test_resnet, random weights" in text and "train 50, val 359, test 359" in text
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, run in zip(rows, read_comparison([real_runs]).runs, strict=True):
        assert (row["label"], int(row["seed"]), row["status"]) == (run.label, run.seed, "done")
        assert float(row["test_accuracy"]) == run.scores["accuracy"] and float(row["flops"]) == run.costs["flops"]


def test_means_intervals_and_failures_stand_in_every_file(comparison: Any) -> None:
    folder = report(comparison(change=fail))
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    accuracies = [float(row["test_accuracy"]) for row in rows if row["label"] == "full"]
    mean = f"{sum(accuracies) / 3:.3f}"
    text, table = (folder / "report.md").read_text(), (folder / "table.tex").read_text()
    assert re.search(rf"\| full \| {mean} \| &#91;0.*&#93; \| 3 \| {accuracies[0]:.3f}, ", text)
    assert f"full & \\textbf{{{mean} [0." in table or f"full\\textsuperscript{{\\textdagger}} & {mean}" in table
    assert "| scratch | - | 1 | diverged | the loss is NaN |" in text and "## No result" in text
    assert "1 of 12 runs have no result (1 diverged)" in Parsed((folder / "report.html").read_text()).text
    (failed,) = [row for row in rows if row["status"] != "done"]
    assert failed["test_accuracy"] != "0" and failed["reason"] == "the loss is NaN"
    assert re.search(r"\| scratch \| 0\.\d+ \| .* \| 2 \| ", text)


def test_several_blocks_have_a_column_and_a_table_each(comparison: Any) -> None:
    blocks = [{"data": "digits"}, {"data": "mnist5k"}]
    folder = report(comparison(blocks=blocks))
    text, page = (folder / "report.md").read_text(), Parsed((folder / "report.html").read_text()).text
    assert "| strategy | mean over blocks | 95% interval | n | average rank | digits | mnist5k |" in text
    assert "## Ranks" in text and "too few" in text
    assert "Results on mnist5k" in page and "Curves on mnist5k" in page and "Classes on mnist5k" in page
    assert "strategy & all blocks & digits & mnist5k" in (folder / "table.tex").read_text()
    assert (folder / "results.csv").read_text().startswith("label,data,seed,")


def test_numbers_of_training_examples_make_a_chart(comparison: Any) -> None:
    def count(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        record["data"]["counts"]["train"] = 10 * int(block["data.num_per_class"])

    blocks = [{"data.num_per_class": number} for number in ("5", "20", "80")]
    folder = report(comparison(blocks=blocks, change=count))
    assert "## Accuracy against training examples" in (folder / "report.md").read_text()
    assert (folder / "figures" / "examples-1.svg").exists()


def test_tuning_shows_every_trial_and_warns_of_an_edge(comparison: Any, template: Path) -> None:
    folder = comparison({"full": (0.9, 1.0), "scratch": (0.4, 1.0)}, seeds=[0, 1, 2, 3, 4])
    content = json.loads((folder / "comparison.json").read_text())
    for place, row in enumerate(content["runs"]):
        if row["seed"] > 2:
            row |= {"trial": True, "lr": 0.001 if row["seed"] == 3 else 0.01, "seed": 7}
            path = folder / row["path"] / "record.json"
            record = json.loads(path.read_text())
            record["config"]["optimizer"]["lr"] = row["lr"]
            record["metrics"] = {"val": {"accuracy": 0.5 + place / 100}}
            path.write_text(json.dumps(record))
    one = {"label": "full", "block": {}, "lr": 0.01, "edge": "high", "extended": False, "why": None}
    two = {"label": "scratch", "block": {}, "lr": 0.001, "edge": None, "extended": False, "why": "it is <solved>"}
    content |= {"tuned": [one, two], "lr_grid": [0.001, 0.01], "lr_seed": 7}
    (folder / "comparison.json").write_text(json.dumps(content))
    text = report(folder).joinpath("report.md").read_text()
    assert "at an end of the grid for full (high end, 0.01)" in text and "compare.lr_extend=true" in text
    assert "| full | 0.01 | 0.001: 0.530, 0.01: 0.540 | at the high end of the grid |" in text
    assert "not tuned: it is &lt;solved&gt;" in text and "seed 7, which no run uses" in text
    assert "6, 0 without a result; 4 trials of learning rates" in text


def test_records_from_before_these_fields_leave_parts_out_with_a_word(comparison: Any) -> None:
    def old(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        for name in ("moved", "similarity", "mistakes"):
            record.pop(name)
        for name in ("forward_flops", "backward_flops", "flops_saved", "checkpoint_bytes"):
            record["cost"].pop(name)

    text = report(comparison(change=old, extraction=None, wall_seconds=None)).joinpath("report.md").read_text()
    assert "## What changed" not in text and "## Mistakes" not in text
    assert "These records do not say FLOPs." in text


def test_nothing_finished(comparison: Any) -> None:
    def stop(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        record |= {"status": "interrupted", "reason": None}

    folder = report(comparison(change=stop))
    text = (folder / "report.md").read_text()
    assert "No run finished" in text and "no reason was recorded" in text and "12 interrupted" in text
    assert not list(folder.glob("figures/*")) and "scratch & --" in (folder / "table.tex").read_text()


def test_the_same_records_give_the_same_bytes_and_nothing_old_stays(comparison: Any, tmp_path: Path) -> None:
    folder = comparison({"full": (0.9, 1.0), "scratch": (0.4, 1.0)})
    first, second = (report(folder, tmp_path / name) for name in ("a", "b"))
    (second / "figures" / "old.svg").write_text("<svg/>")
    with (second / "report.md").open("a") as file:
        file.write("![](figures/old.svg)")
    (second / "figures" / "mine.svg").write_text("what no report has made")
    report(folder, second)
    (second / "figures" / "mine.svg").unlink()
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_figures_stand_alone_and_pages_load_nothing(comparison: Any) -> None:
    folder = report(comparison({"full": (0.9, 1.0), "scratch": (0.4, 1.0)}))
    text = (folder / "report.md").read_text()
    linked = set(re.findall(r"\((figures/[\w.-]+)\)", text))
    assert linked == {f"figures/{path.name}" for path in (folder / "figures").iterdir()}
    for path in (folder / "figures").glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    page = (folder / "report.html").read_text()
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    sources = [value or "" for name, value in Parsed(page).attributes if name in ("src", "href")]
    assert all(value.startswith(("#", "data:")) for value in sources)
    picture = next((folder / "figures").glob("mistakes-*.png")).read_bytes()
    assert base64.b64encode(picture).decode() in page


def hostile(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
    classes = record["data"]["classes"]
    record["data"]["classes"] = [f"{HOSTILE} {name}" for name in classes]
    record["data"] |= {"fingerprint": HOSTILE, "counts": {HOSTILE: 3}}
    record["config"]["data"]["root"] = HOSTILE
    record["config"][HOSTILE] = {HOSTILE: HOSTILE}
    record["backbone"] = {"name": HOSTILE, "fingerprint": HOSTILE}
    record["versions"], record["git"] = {HOSTILE: HOSTILE}, {"commit": HOSTILE, "dirty": True}
    record["plan"]["phases"] = [{"name": HOSTILE, "epochs": 1}, {"name": HOSTILE, "epochs": 1}]
    record["moved"] = record["similarity"] = {HOSTILE: 0.5}
    record["mistakes"] = [{**one, "sample": HOSTILE, "label": HOSTILE} for one in record["mistakes"]]
    record["metrics"]["test"][HOSTILE] = 0.5
    if seed == 1:
        record |= {"status": "failed", "reason": HOSTILE}


def test_hostile_text_stays_text_everywhere(comparison: Any) -> None:
    strategies = {HOSTILE: (0.9, 1.0), f"{HOSTILE} 2": (0.5, 2.0), "full": (0.8, 3.0)}
    blocks = [{"data.root": HOSTILE}, {"data.root": "b"}]
    folder = report(comparison(strategies, blocks, change=hostile, name=HOSTILE, command=HOSTILE))
    page = Parsed((folder / "report.html").read_text())
    assert page.tags.count("script") == 1 and "alert(1)" in page.text
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse((folder / "report.md").read_text())
    inline = [child for token in tokens for child in token.children or []]
    assert not [token for token in tokens if token.type == "html_block"]
    assert {token.type for token in inline} <= {"text", "strong_open", "strong_close", "image", "text_special"}
    assert [token.tag for token in tokens if token.type == "heading_open"].count("h1") == 1
    for path in (folder / "figures").glob("*.svg"):
        assert not [one for one in ElementTree.parse(path).iter() if one.tag.endswith("script")]
    table = (folder / "table.tex").read_text()
    assert "\\input" not in table and "\\textbackslash{}input\\{x\\} \\$e\\$ 50\\% \\&" in table
    assert {line.count("&") - line.count("\\&") for line in table.splitlines() if line.endswith("\\\\")} == {3}
    rows = list(read_csv(folder / "results.csv"))
    assert rows[0]["label"] == rows[1]["reason"] == HOSTILE and len(rows) == 18


@given(st.text() | st.sampled_from(["# a", "- a", "+ a", "---", "1. a", "2) a", "=", "    a", "- - -", "__", "-"]))
def test_escaped_markdown_is_one_paragraph_without_markup(text: str) -> None:
    escaped = escape_paragraph(text)
    assert not set(escaped) & set("\n\r|<>`*[]\\")
    if escaped:
        parsed = MarkdownIt("commonmark", {"html": True}).render(escaped)
        assert re.fullmatch(r"<p>[^<]*</p>\n", parsed)


@given(st.text())
def test_escaped_tex_is_one_line_whose_only_commands_are_signs(text: str) -> None:
    escaped = escape_tex(text)
    assert "\n" not in escaped
    bare = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]|\{[-\[\]*]\}", "", escaped)
    assert not set(bare) & set('\\&%$#_{}~^<>|"`')


def test_differing_data_and_versions_are_warned_of(comparison: Any) -> None:
    def differ(label: str, block: Any, seed: int, record: dict[str, Any]) -> None:
        if (label, seed) == ("full", 1):
            record["data"]["fingerprint"] = "x" * 64
            record["versions"]["torch"] = "1.0"

    text = report(comparison(change=differ)).joinpath("report.md").read_text()
    assert "The runs of seed 1 did not use the same data (2 fingerprints: " in text
    assert "Not all runs were made by the same programs: torch differ" in text


def test_data_drawn_by_seed_may_differ_between_seeds(comparison: Any) -> None:
    assert "did not use the same data" not in report(comparison()).joinpath("report.md").read_text()


MANY = """
import json, resource, sys
from pathlib import Path
from frostline.report import read_comparison, write_report
write_report(Path(sys.argv[2]), read_comparison([Path(sys.argv[1])]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(template: Path, folder: Path, labels: int, seeds: int) -> int:
    """Return the peak memory in kB of a process that reports on labels x seeds records, each padded to 20 kB."""
    record = json.loads((template / "record.json").read_text())
    for label in range(labels):
        for seed in range(seeds):
            record["config"] |= {"seed": seed, "freeze": {"_target_": "x.last_k", "k": label}}
            record["metrics"]["test"]["accuracy"] = 0.5 + label / 100 + seed / 10000
            record["notes"] = ["n" * 15_000]
            run = folder / "runs" / f"{label}-{seed}"
            run.mkdir(parents=True)
            (run / "record.json").write_text(json.dumps(record))
    command = [sys.executable, "-c", MANY, str(folder / "runs"), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_ten_thousand_runs_are_reported_in_bounded_memory(template: Path, tmp_path: Path) -> None:
    few = peak_memory(template, tmp_path / "few", 10, 10)
    many = peak_memory(template, tmp_path / "many", 20, 500)
    assert (many - few) / 9900 < 8, "each run more costs less than 8 kB, of records of 20 kB"
