"""The live table of many runs, from their folders alone, and the lines in its place."""

import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from frostline.config.compose import compose, resolve
from frostline.launchers.base import Job
from frostline.launchers.dispatch import Outcome
from frostline.launchers.progress import Screen, View, describe_end, run_all, shorten


def job(outputs: Path, seed: int, name: str | None = None) -> Job:
    return Job(
        name or f"full seed {seed}", resolve(compose("run", [f"seed={seed}", f"outputs={outputs}", "epochs=10"]))
    )


def outcome(of: Job, status: str = "done", reason: str | None = None, fresh: bool = True) -> Outcome:
    record = {"status": status, "reason": reason, "metrics": {"val": {"accuracy": 0.5}, "test": {"accuracy": 0.25}}}
    return Outcome(of.folder.name, of.folder, record, fresh)


def write(of: Job, epochs: int) -> None:
    of.folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{epoch},all,{min((epoch + 1) / 10, 0.99)}" for epoch in range(epochs)]
    (of.folder / "metrics.csv").write_text("\n".join(["epoch,phase,val/accuracy", *rows]) + "\n")


class Stage:
    """A pool as the view sees it: which runs are on, and since when."""

    def __init__(self, ends: list[Any] | None = None):
        self.running: list[tuple[Job, float]] = []
        self.ends = ends or []

    def on(self, of: Job, seconds: float) -> None:
        self.running.append((of, time.monotonic() - seconds))

    def run(self, jobs: Any) -> Any:
        yield from self.ends


def shown(view: View) -> list[str]:
    view.console.print(view.render())
    text = view.console.file.getvalue()  # type: ignore[attr-defined]
    view.console.file = io.StringIO()
    return text.splitlines()


def make(jobs: list[Job], stage: Any, height: int = 30) -> View:
    return View(jobs, stage, Console(file=io.StringIO(), width=100, height=height, force_terminal=False))


def row(lines: list[str], name: str) -> list[str]:
    (line,) = [line for line in lines if name in line]
    return line.split(name)[1].split()


def test_a_run_is_shown_from_waiting_to_its_end(tmp_path: Path) -> None:
    one, other = job(tmp_path, 1), job(tmp_path, 2)
    stage = Stage()
    view = make([one, other], stage)
    assert row(shown(view), "seed 1") == ["waiting"]
    stage.on(one, 20)
    shown(view)
    write(one, 4)
    lines = shown(view)
    assert row(lines, "seed 1") == ["running", "4/10", "0.4000", "20", "s", "30", "s"]
    assert "0 of 2 ended, 1 running, 1 waiting" in lines[-1]
    stage.running.clear()
    write(one, 10)
    view.end(one, outcome(one), 50.0)
    stage.on(other, 10)
    lines = shown(view)
    assert row(lines, "seed 1") == ["done", "10/10", "0.9900", "50", "s"]
    assert "1 of 2 ended, 1 running, 0 waiting" in lines[-1] and "about 40 s left" in lines[-1]


def test_epochs_of_an_earlier_sitting_say_nothing_of_the_pace(tmp_path: Path) -> None:
    one, stage = job(tmp_path, 1), Stage()
    view = make([one], stage)
    write(one, 6)
    stage.on(one, 30)
    assert row(shown(view), "seed 1") == ["running", "6/10", "0.6000", "30", "s"]
    write(one, 8)
    os.utime(one.folder / "metrics.csv", ns=(1, 1))
    assert row(shown(view), "seed 1") == ["running", "8/10", "0.8000", "30", "s", "30", "s"]


def test_where_not_all_fit_the_running_and_the_latest_are_shown(tmp_path: Path) -> None:
    jobs, stage = [job(tmp_path, seed) for seed in range(40)], Stage()
    view = make(jobs, stage, height=14)
    for one in jobs[:20]:
        view.end(one, outcome(one), 1.0)
    stage.on(jobs[20], 1)
    stage.on(jobs[21], 1)
    lines = shown(view)
    assert len(lines) <= 14
    seeds = [int(line.split("seed ")[1].split()[0]) for line in lines if "seed " in line]
    assert seeds == [15, 16, 17, 18, 19, 20, 21]
    assert "20 of 40 ended, 2 running, 18 waiting" in lines[-1]


def test_a_failure_says_why_in_one_line_and_names_are_text(tmp_path: Path) -> None:
    one, stage = job(tmp_path, 1, "[red]surgical[/red](train=[])"), Stage()
    view = make([one], stage)
    view.end(one, outcome(one, "failed", "no such group: " + "x" * 200), 1.0)
    lines = shown(view)
    (line,) = [line for line in lines if "[red]surgical[/red]" in line]
    assert "failed: no such" in line and len(line) <= 100
    assert "1 of 1 ended (1 without a result)" in lines[-1]


def test_without_a_terminal_each_end_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = job(tmp_path, 1), job(tmp_path, 2)
    ends = [(one, outcome(one, fresh=False), 0.0), (other, outcome(other, "failed", "it broke"), 2.5)]
    said: list[str] = []
    stage: Any = Stage(ends)
    found = run_all([one, other], stage, Screen(), lambda job, outcome, seconds: said.append(job.name))
    assert found == ends and said == ["full seed 1", "full seed 2"]
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] full seed 1: done before, test accuracy 0.2500, 0.0 s",
        "[2/2] full seed 2: failed: it broke, 2.5 s",
    ]


def test_a_trial_has_a_validation_score_only(tmp_path: Path) -> None:
    one = job(tmp_path, 1)
    ended = outcome(one)
    del ended.record["metrics"]["test"]
    assert "val accuracy 0.5000" in describe_end(one, ended, 1.0)


@pytest.mark.parametrize(("width", "text"), [(9, "full se"), (7, "full se"), (6, "f...se"), (5, "f...e")])
def test_a_long_name_keeps_both_its_ends(width: int, text: str) -> None:
    assert shorten("full se", width) == text
