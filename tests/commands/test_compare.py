"""`frostline compare` from the command line to the report, on real digits and a small network."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.worker_processes import gone

SMALL = (
    "backbone=timm",
    "backbone.name=test_resnet",
    "backbone.weights=none",
    "data.size=32",
    "data.num_per_class=4",
    "epochs=2",
    "trainer.accelerator=cpu",
    "launcher.workers=2",
    "launcher.threads=1",
)
PLAIN = "compare.profile=false"
STRATEGIES = "compare.strategies=[linear_probe, {last_k: {k: 1}}]"


def index(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "comparison.json").read_text())


def records(folder: Path, trial: bool) -> list[dict[str, Any]]:
    rows = [row for row in index(folder)["runs"] if row["trial"] is trial]
    return [json.loads((folder / row["path"] / "record.json").read_text()) for row in rows]


def written(outputs: Path) -> dict[str, int]:
    """Return when each run's record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in outputs.glob("runs/*/record.json")}


@pytest.mark.slow
def test_a_comparison_from_tuning_to_report_and_again(frostline, tmp_path: Path) -> None:
    grid = "compare.lr_grid=[0.001,0.01]"
    arguments = ("compare", STRATEGIES, "compare.seeds=[0]", "compare.name=small", grid, "compare.lr_extend=true")
    arguments = (*arguments, "data.size=32,40", *SMALL)
    planned = frostline(*arguments, "--plan")
    assert planned.returncode == 0, planned.stderr
    assert "small: 8 runs to do, 0 there already" in planned.stdout
    assert "before that 2 depth profiles to make, 0 there already" in planned.stdout
    assert not (tmp_path / "outputs").exists()

    ended = frostline(*arguments)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "outputs/comparisons/small/report.html"
    folder = tmp_path / "outputs" / "comparisons" / "small"
    content = index(folder)
    assert content["axes"] == {"freeze": ["linear_probe", "last_k(k=1)"], "data.size": ["32", "40"]}
    assert content["lr_seed"] == 1
    assert content["extraction"]["passes"] == 10, "each once: three for the runs of each size, two for the trials"

    profiles = {one["block"]["data.size"]: one["path"] for one in content["profiles"]}
    assert len(content["profiles"]) == 4 and all(
        (folder / path / "profile.html").exists() for path in profiles.values()
    )
    assert "Where the network knows what you need" in (folder / "report.md").read_text()

    runs, trials = records(folder, False), records(folder, True)
    assert len(runs) == 4
    assert all(run["status"] == "done" and "test" in run["metrics"] for run in runs)
    assert all("test" not in trial["metrics"] and trial["config"]["seed"] == 1 for trial in trials)
    tuned = {(one["label"], one["block"]["data.size"]): one for one in content["tuned"]}
    assert tuned["linear_probe", "32"]["why"]
    for one in (tuned["last_k(k=1)", size] for size in ("32", "40")):
        mine = [trial for trial in trials if str(trial["config"]["data"]["size"]) == one["block"]["data.size"]]
        assert len(mine) == (3 if one["extended"] else 2)
        best = max(mine, key=lambda trial: (trial["metrics"]["val"]["accuracy"], -trial["metrics"]["val"]["loss"]))
        assert one["lr"] == best["config"]["optimizer"]["lr"]
        used = {row["lr"] for row in content["runs"] if row["label"] == one["label"] and row["block"] == one["block"]}
        assert one["lr"] in used
    for run in runs:  # the caches were filled before the first of them
        assert run["cost"]["cache_seconds"] < 5 and run["cached"][0].startswith("at ")

    before = written(tmp_path / "outputs")
    lost = next(run["id"] for run in runs)
    (tmp_path / "outputs" / "runs" / lost / "record.json").unlink()
    planned = frostline(*arguments, "--plan")
    assert "small: 1 runs to do, 7 there already" in planned.stdout
    assert "before that 0 depth profiles to make, 2 there already" in planned.stdout
    assert frostline(*arguments).returncode == 0
    after = written(tmp_path / "outputs")
    assert [name for name in after if after[name] != before[name]] == [lost]


@pytest.mark.slow
def test_one_dead_cell_costs_no_other(frostline, tmp_path: Path) -> None:
    swept = ("optimizer.lr=0.001,1e38", "optimizer=sgd")
    strategies = "compare.strategies=[full, {last_k: {k: 1}}]"
    ended = frostline("compare", strategies, "compare.seeds=[0]", "compare.name=half", PLAIN, *SMALL, *swept)
    assert ended.returncode == 1, ended.stderr
    folder = tmp_path / "outputs" / "comparisons" / "half"
    statuses = {(row["label"], row["block"]["optimizer.lr"]): row["path"] for row in index(folder)["runs"]}
    found = {key: json.loads((folder / path / "record.json").read_text())["status"] for key, path in statuses.items()}
    assert found == {(name, lr): status for name in ("full", "last_k(k=1)") for lr, status in END.items()}
    assert "diverged" in (folder / "report.md").read_text()
    listed = frostline("cache", "list")
    assert listed.returncode == 0 and "entries" in listed.stdout
    assert frostline("cache", "verify").returncode == 0
    assert frostline("cache", "prune", "--max-gb", "0").stdout.strip().endswith(", 0 left")


END = {"0.001": "done", "1e+38": "diverged"}


def test_a_mistake_in_one_cell_is_named_before_anything_runs(frostline, tmp_path: Path) -> None:
    ended = frostline(
        "compare", "compare.strategies=[full, {surgical: {train: [nosuch]}}]", "compare.seeds=[0]", *SMALL
    )
    assert ended.returncode == 2
    assert "surgical" in ended.stderr and "nosuch" in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "outputs" / "runs").exists()


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "frostline", "compare", *arguments]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_a_killed_comparison_goes_on_with_what_is_left(frostline, tmp_path: Path) -> None:
    """Promise 13: the comparison's own process is killed, and the same command again runs only the unfinished runs."""
    arguments = (
        "compare.strategies=[full]",
        "compare.seeds=[0,1,2,3]",
        "compare.name=killed",
        PLAIN,
        *SMALL,
        "epochs=4",
    )
    controller = start(tmp_path, *arguments)
    deadline = time.monotonic() + 120
    while not written(tmp_path / "outputs"):
        assert controller.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    controller.send_signal(signal.SIGKILL)
    controller.communicate()
    assert gone(tmp_path, 40), "the workers outlive their controller"
    statuses = {name: json.loads(path.read_text())["status"] for name, path in paths(tmp_path).items()}
    before = {name: time_ for name, time_ in written(tmp_path / "outputs").items() if statuses[name] == "done"}
    assert 1 <= len(before) < 4
    again = frostline("compare", *arguments)
    assert again.returncode == 0, again.stderr
    after = written(tmp_path / "outputs")
    assert len(after) == 4
    assert {name for name in before if after[name] == before[name]} == set(before)


def paths(tmp_path: Path) -> dict[str, Path]:
    return {path.parent.name: path for path in (tmp_path / "outputs").glob("runs/*/record.json")}


@pytest.mark.slow
def test_the_same_comparison_twice_in_the_same_second(tmp_path: Path) -> None:
    """Promise 14: they share nothing but the cache and finished runs."""
    arguments = ("compare.strategies=[linear_probe]", "compare.seeds=[0,1]", "compare.name=twin", PLAIN, *SMALL)
    both = [start(tmp_path, *arguments) for _ in range(2)]
    said = [each.communicate(timeout=240)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    folders = sorted(path.parent for path in (tmp_path / "outputs" / "comparisons").glob("*/report.html"))
    assert [path.name for path in folders] == ["twin", "twin-2"]
    assert index(folders[0])["runs"] == index(folders[1])["runs"]
    assert len(paths(tmp_path)) == 2


@pytest.mark.slow
def test_a_budget_of_seconds_gives_each_strategy_its_own_epochs(frostline, tmp_path: Path) -> None:
    node = ("compare.strategies=[full]", "compare.seeds=[0]", "compare.name=timed", PLAIN, "compare.budget.seconds=4")
    ended = frostline("compare", *node, *SMALL)
    assert ended.returncode == 0, ended.stderr
    content = index(tmp_path / "outputs" / "comparisons" / "timed")
    (row,) = content["runs"]
    assert content["lr_seed"] == 1 and row["epochs"] > 2
    (record,) = records(tmp_path / "outputs" / "comparisons" / "timed", False)
    assert record["epochs"] == row["epochs"]
    assert "timed: 0 runs to do, 1 there already" in frostline("compare", *node, *SMALL, "--plan").stdout


def test_an_experiment_of_the_users_own_sets_the_comparison(tmp_path: Path, frostline) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = "# @package _global_\ndefaults: [{override /data: mnist5k}]\ncompare: {name: mine, seeds: [7]}\n"
    (tmp_path / "mine" / "experiment" / "study.yaml").write_text(text)
    ended = frostline("compare", "--config-dir", "mine", "experiment=study", "--cfg", "job")
    assert ended.returncode == 0, ended.stderr
    assert "name: mine" in ended.stdout and "Mnist5k" in ended.stdout
