"""`frostline report`, as it is typed."""

import json
import shutil
from pathlib import Path

import pytest

from frostline.commands import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a run that failed: all that a report needs of a record."""
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    config = {"seed": 0, "freeze": {"_target_": "frostline.freeze.strategies.full"}}
    record = {"id": "a", "status": "failed", "reason": "killed", "config": config}
    (folder / "record.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def comparison(run: Path) -> Path:
    """Return the folder of a comparison of one run."""
    folder = run.parents[1] / "comparisons" / "toy"
    folder.mkdir(parents=True)
    row = {"label": "full", "block": {}, "seed": 0, "lr": 0.1, "epochs": 1, "trial": False, "path": "../../runs/a"}
    content = {"format": 2, "name": "toy", "factor": "freeze", "axes": {"freeze": ["full"]}, "tuned": [], "runs": [row]}
    (folder / "comparison.json").write_text(json.dumps(content))
    return folder


def test_a_comparison_is_reported_in_place_and_the_path_comes_last(
    comparison: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(comparison)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(comparison / "report.html")
    assert all((comparison / name).is_file() for name in ("report.html", "report.md", "results.csv", "table.tex"))


def test_any_runs_are_reported_where_out_says(
    run: Path, comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run), str(comparison), str(run / "record.json"), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'report.html'}\n"
    assert "| full | - | 0 | failed | killed |" in (tmp_path / "out" / "report.md").read_text()
    assert not (comparison / "report.html").exists()


def test_runs_without_out_are_the_users_mistake(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.parent)]) == 2
    assert "--out: name a folder for the report on 1 run, such as --out report." in capsys.readouterr().err


def test_a_path_that_is_neither_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "typo")]) == 2
    assert "typo: this is no comparison's folder" in capsys.readouterr().err


def test_a_comparison_whose_runs_have_gone_is_reported_all_the_same(comparison: Path, run: Path) -> None:
    shutil.rmtree(run)
    assert main(["report", str(comparison)]) == 0
    assert "the run left no record" in (comparison / "report.md").read_text()
