"""`frostline compare` from the command line to the report, on real digits."""

import json
from pathlib import Path

import pytest

SMALL = ("data.size=32", "data.num_per_class=4", "epochs=2", "trainer.enable_progress_bar=false")


@pytest.mark.slow
def test_a_comparison_goes_on_past_a_failure_to_its_report(frostline, tmp_path: Path) -> None:
    strategies = "compare.strategies=[linear_probe, {last_k: {k: 1}}, {surgical: {train: [nosuch]}}]"
    arguments = ("compare", strategies, "compare.seeds=[0]", "compare.name=small", "launcher.workers=2", *SMALL)
    ended = frostline(*arguments)
    assert ended.returncode == 1, ended.stderr
    folder = tmp_path / "outputs" / "comparisons" / "small"
    lines = ended.stdout.splitlines()
    assert lines[-1] == "outputs/comparisons/small/report.md"
    assert sum(line.startswith("[") for line in lines) == 3
    report = (folder / "report.md").read_text()
    assert all(word in report for word in ("linear_probe", "k=1", "surgical", "nosuch"))
    rows = json.loads((folder / "runs.json").read_text())["runs"]
    assert "    frostline compare 'compare.strategies=[linear_probe, " in report
    assert {(row["strategy"], row["seed"]) for row in rows} == {
        (label, seed) for label in ("linear_probe", "last_k(k=1)", "surgical(train=['nosuch'])") for seed in (0,)
    }
    for row in rows:
        assert json.loads((folder / row["path"] / "record.json").read_text())["id"] == row["id"]
    (folder / "report.md").unlink()
    again = frostline("report", str(folder))
    assert again.returncode == 0, again.stderr
    assert (folder / "report.md").read_text() == report
    once_more = frostline(*arguments)
    assert once_more.stdout.count("done before") == 2
    listed = frostline("cache", "list")
    assert listed.returncode == 0 and "entries" in listed.stdout
    assert frostline("cache", "verify").returncode == 0
    assert frostline("cache", "prune", "--max-gb", "0").stdout.strip().endswith(", 0 left")


def test_an_experiment_of_the_users_own_sets_the_comparison(tmp_path: Path, frostline) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = "# @package _global_\ndefaults: [{override /data: mnist5k}]\ncompare: {name: mine, seeds: [7]}\n"
    (tmp_path / "mine" / "experiment" / "study.yaml").write_text(text)
    ended = frostline("compare", "--config-dir", "mine", "experiment=study", "--cfg", "job")
    assert ended.returncode == 0, ended.stderr
    assert "name: mine" in ended.stdout and "Mnist5k" in ended.stdout
