"""What a run left behind, as an object that predicts and reports, and the table of all runs."""

from pathlib import Path

import pandas
import pytest
from PIL import Image
from tests.small_runs import make_run, run

from frostline.api.results import RunResult, records
from frostline.errors import UserError
from frostline.results.record import Record


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a run that is done, one that failed, one not finished, and one whose record is damaged."""
    outputs = tmp_path_factory.mktemp("outputs")
    run(outputs, "freeze=linear_probe")
    config, folder = make_run(outputs, "freeze=full")
    Record(folder.name, "failed", config.plain(), reason="no such luck").write(folder)
    make_run(outputs, "freeze=scratch")
    _, damaged = make_run(outputs, "freeze=bias_only")
    (damaged / "record.json").write_text("{")
    return outputs


def by_status(outputs: Path) -> dict[str, RunResult]:
    """Return the runs of the folder by what became of them."""
    found = records(outputs)
    pairs = zip(found["status"], found["folder"], strict=True)
    return {str(status): RunResult(Path(str(folder))) for status, folder in pairs}


def test_a_run_says_how_it_ended(outputs: Path) -> None:
    runs = by_status(outputs)
    done, failed, unfinished = (runs[name] for name in ("done", "failed", "unfinished"))
    assert (done.status, done.reason) == ("done", None) and 0 <= done.metrics["test"]["accuracy"] <= 1
    assert repr(done) == f"<run {done.id}: done; {done.folder}>" and done.record is not None
    assert (failed.status, failed.reason) == ("failed", "no such luck")
    assert (unfinished.status, unfinished.record, unfinished.reason) == ("unfinished", None, None)
    with pytest.raises(UserError, match=r"this run is failed \(no such luck\), so it has no scores"):
        _ = failed.metrics
    with pytest.raises(UserError, match="this run is unfinished, so it has no scores"):
        _ = unfinished.metrics
    with pytest.raises(UserError, match=r"record\.json"):
        _ = runs["damaged"].status


def test_a_run_predicts_and_reports(outputs: Path, tmp_path: Path) -> None:
    done = by_status(outputs)["done"]
    picture = tmp_path / "one.png"
    Image.new("RGB", (16, 16), "white").save(picture)
    (row,) = done.predict(picture)
    assert row["sample"] == str(picture) and row["prediction"] in row["probabilities"]
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert done.predict([picture, picture], batch_size=1) == [row, row]
    with pytest.raises(UserError, match="reads no text but images"):
        done.predict(texts=["hello"])
    for paths, texts in (((), ()), ([picture], ["hello"])):
        with pytest.raises(UserError, match="^predict: expected either paths or texts"):
            done.predict(paths, texts=texts)
    assert done.report.path.read_text().startswith("<!DOCTYPE html>")


def test_all_runs_are_one_table(outputs: Path, tmp_path: Path) -> None:
    found = records(outputs)
    assert isinstance(found, pandas.DataFrame) and len(found) == 4
    assert {"id", "status", "written", "metrics.test.accuracy", "config.freeze._target_", "cost.seconds"} <= {*found}
    assert set(found["status"]) == {"done", "failed", "unfinished", "damaged"}
    assert all(0 <= one <= 1 for one in found[found["status"] == "done"]["metrics.test.accuracy"])
    assert list(records(tmp_path).columns) == ["id", "status", "reason", "written"]
    with pytest.raises(UserError, match="there is no such folder"):
        records(tmp_path / "nowhere")
