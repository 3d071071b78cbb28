"""A study: asked and told by one process, gone on with after a kill, stopped early where that pays."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.report import read_study, write_study_report
from frostline.tuning.search import Search

from .conftest import Conducted, Killed, Pretend, quality

Make = Callable[..., Search]


def rates(launcher: Pretend) -> list[float]:
    return [config.optimizer["lr"] for config in launcher.ran]


def test_a_study_finds_the_best_and_tests_it_once(search: Make, conducted: Conducted) -> None:
    launcher = Pretend()
    sitting, final = conducted(search("tune.trials=14", "tune.startup=5"), launcher)
    assert [config.test for config in launcher.ran] == [False] * 14 + [True]
    best = sitting.index.find_best()
    assert best is not None and best["value"] == max(row["value"] for row in sitting.index.content["trials"])
    assert abs(math.log10(final["config"]["optimizer"]["lr"]) + 2) < 0.5
    assert f"optimizer.lr={final['config']['optimizer']['lr']}" in best["overrides"]
    spread = [abs(math.log10(rate) + 2) for rate in rates(launcher)]
    assert sum(spread[5:14]) / 9 < sum(spread[:5]) / 5  # it has learned from what it was told


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_killed_study_goes_on_with_its_count_and_asks_what_it_would_have(
    search: Make, conducted: Conducted, tmp_path: Path, sampler: str
) -> None:
    """Promise 13 for a study: finished trials stay, the one that was running is run again, and none is added."""
    ask = ("tune.trials=5", "tune.startup=2", f"tune.sampler={sampler}")
    whole = Pretend()
    conducted(search(*ask, "tune.name=whole"), whole)
    for folder in (tmp_path / "outputs" / "runs").iterdir():
        (folder / "record.json").unlink()
    first, second = Pretend(leaves=3), Pretend()
    with pytest.raises(Killed):
        conducted(search(*ask), first)
    sitting, final = conducted(search(*ask), second)
    assert rates(first) == rates(whole)[:4]
    assert rates(first)[:3] + rates(second) == rates(whole)
    trials = sitting.index.content["trials"]
    assert [row["number"] for row in trials] == list(range(5))
    assert all(row["status"] == "done" for row in trials) and final["status"] == "done"
    third = Pretend()
    assert conducted(search(*ask), third)[0].find_final_record() == final and not third.ran
    conducted(search("tune.trials=6", *ask[1:]), third)
    assert len(third.ran) - sum(config.test for config in third.ran) == 1


def test_trials_without_a_result_are_told_as_failed_with_their_reason(search: Make, conducted: Conducted) -> None:
    def fails(config: Run) -> str | None:
        rate = config.optimizer["lr"]
        return "diverged: the loss is nan" if rate > 0.1 else "failed: out of memory" if rate < 1e-3 else None

    sitting, final = conducted(search("tune.trials=8", "tune.sampler=random"), Pretend(fails=fails))
    rows = sitting.index.content["trials"]
    said = {(row["status"], row["reason"]) for row in rows}
    assert said == {("done", None), ("diverged", "the loss is nan"), ("failed", "out of memory")}
    assert {row["value"] is None for row in rows if row["status"] != "done"} == {True}
    states = {trial.state.name for trial in sitting.study.get_trials() if trial.user_attrs["status"] == "diverged"}
    assert states == {"FAIL"} and final["status"] == "done"


def test_a_study_without_any_value_has_no_final_run(search: Make, conducted: Conducted) -> None:
    sitting, final = conducted(search("tune.trials=3"), Pretend(fails=lambda config: "failed: no"))
    assert final is None and sitting.index.content["final"] is None
    page = write_study_report(sitting.index.folder, read_study(sitting.index.folder))
    assert "No trial of 3 has a value" in page.read_text()


@pytest.mark.parametrize(("pruner", "workers"), [("median", 1), ("asha", 3), ("hyperband", 2)])
def test_what_is_behind_is_stopped(search: Make, conducted: Conducted, pruner: str, workers: int) -> None:
    ask = (f"tune.pruner={pruner}", "tune.trials=10", "tune.sampler=random", "tune.startup=3", "epochs=9")
    launcher = Pretend(workers)
    sitting, final = conducted(search(*ask, "tune.min_epochs=1"), launcher)
    rows = sitting.index.content["trials"]
    pruned, done = ([row for row in rows if row["status"] == status] for status in ("pruned", "done"))
    assert len(pruned) >= 2 and len(pruned) + len(done) == 10 and final["status"] == "done"
    assert all(row["value"] is None and len(row["values"]) == row["epochs"] < 9 for row in pruned)
    assert all(len(row["values"]) == 9 for row in done)
    top = max(launcher.ran[:10], key=quality).optimizer["lr"]
    assert final["config"]["optimizer"]["lr"] == top or pruner != "median" or workers > 1


def test_values_told_are_the_best_so_far(search: Make, conducted: Conducted) -> None:
    sitting, _ = conducted(search("tune.trials=4", "tune.pruner=median"), Pretend())
    for row in sitting.index.content["trials"]:
        values = [value for _, value in row["values"]]
        assert all(before <= after for before, after in pairwise(values)) and values[-1] == row["value"]


def test_points_that_come_to_the_same_run_are_run_once(search: Make, conducted: Conducted) -> None:
    launcher = Pretend(workers=2)
    sitting, _ = conducted(search("tune.trials=6", "tune.sampler=random", swept=("data.batch_size=16,32",)), launcher)
    rows = sitting.index.content["trials"]
    assert len(launcher.ran) == 3 and len(rows) == 6
    assert all(row["value"] is not None for row in rows)
    assert sum(row["same_as"] is None for row in rows) == 2


def test_a_grid_has_every_point_once_also_after_a_kill(search: Make, conducted: Conducted) -> None:
    ask = (
        "tune.sampler=grid",
        "tune.trials=100",
        "tune.space={optimizer.lr: [0.1, 0.01, 0.001], data.batch_size: [16, 32]}",
    )
    with pytest.raises(Killed):
        conducted(search(*ask, swept=()), Pretend(leaves=2))
    sitting, final = conducted(search(*ask, swept=()))
    overrides = [tuple(row["overrides"]) for row in sitting.index.content["trials"]]
    assert len(overrides) == len(set(overrides)) == 6 and final["config"]["optimizer"]["lr"] == 0.01


def test_another_study_of_the_same_name_is_refused_unless_forced(search: Make, conducted: Conducted) -> None:
    conducted(search("tune.name=mine", "tune.trials=3"))
    with pytest.raises(UserError, match="tune.name: 'mine' is the name of another study"):
        conducted(search("tune.name=mine", "tune.trials=3", "epochs=5"))
    launcher = Pretend()
    sitting, _ = conducted(search("tune.name=mine", "tune.trials=4", "epochs=5", "force=true"), launcher)
    assert len(sitting.index.content["trials"]) == 4 and len(launcher.ran) == 5


def test_a_storage_that_cannot_be_used_is_named_without_its_login(
    search: Make, conducted: Conducted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_PASSWORD", "hunter2")
    for url, words in (
        ("'postgresql://me:${oc.env:STORAGE_PASSWORD}@localhost:1/x'", "tune.storage: postgresql://"),
        ("'postgresql://me:hunter2@localhost:1/x'", r"tune.storage: it holds a password.*oc\.env"),
        ("nonsense", "tune.storage: 'nonsense' is no database's URL"),
        ("'sqlite:////nowhere/at/all.db'", "tune.storage: .*cannot be used"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            conducted(search(f"tune.storage={url}"))
        assert "hunter2" not in str(caught.value)


def test_a_storage_elsewhere_is_used(search: Make, conducted: Conducted, tmp_path: Path) -> None:
    sitting, _ = conducted(search("tune.trials=2", f"tune.storage='sqlite:///{tmp_path}/other.db'"))
    assert (tmp_path / "other.db").exists() and not (sitting.index.folder / "study.db").exists()


def test_the_report_shows_the_history_and_what_mattered(search: Make, conducted: Conducted) -> None:
    fails = {"diverged: <b>nan</b>"}
    ask = ("tune.trials=10", "tune.pruner=median", "tune.startup=6", "tune.space={freeze: [full, lp_ft]}")
    launcher = Pretend(fails=lambda config: next(iter(fails)) if config.optimizer["lr"] > 0.3 else None)
    sitting, final = conducted(search(*ask), launcher)
    folder = sitting.index.folder
    found = read_study(folder)
    page = write_study_report(folder, found).read_text()
    assert "<b>nan" not in page and "&lt;b&gt;nan" in page
    test = final["metrics"]["test"]["accuracy"]
    assert f"comes to test accuracy {test:.3f}" in page
    assert "frostline run -m backbone=timm" in page and "seed=0,1,2" in page
    text = (folder / "report.md").read_text()
    for title in ("The best trial", "How the search went", "What mattered", "No result", "How it was done"):
        assert f"## {title}" in text
    lines = (folder / "trials.csv").read_text().splitlines()
    assert lines[0].startswith("trial,freeze,optimizer.lr,val_accuracy,status") and len(lines) == 11
    shares = json.loads((folder / "study.json").read_text())["importances"]["shares"]
    assert set(shares) == {"optimizer.lr", "freeze"} and sum(shares.values()) == pytest.approx(1)


def test_a_damaged_study_is_said(tmp_path: Path) -> None:
    for content in ("{}", "[]", '{"format": 1, "monitor": "accuracy", "space": [], "base": [], "trials": [{}]}', "{"):
        (tmp_path / "study.json").write_text(content)
        with pytest.raises(UserError, match="this is no study"):
            read_study(tmp_path)
