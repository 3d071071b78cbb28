"""Records: JSON that any reader takes, tables, and where the code stood."""

import json
import subprocess
from pathlib import Path

from frostline.files.atomic import MOST_BYTES
from frostline.results.loading import load_record
from frostline.results.record import Record, read_git_state, read_versions
from frostline.runs.outcome import MOST_CLASSES

NAN, INFINITY = float("nan"), float("inf")


def refuse(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


def test_a_record_comes_back_and_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    record = Record("abc", "done", {"seed": 0}, metrics={"test": {"loss": NAN, "accuracy": 0.5, "f1": INFINITY}})
    record.cost.phases = [1.0, -INFINITY]
    record.write(tmp_path)
    found = json.loads((tmp_path / "record.json").read_text(), parse_constant=refuse)
    assert found["metrics"] == {"test": {"loss": None, "accuracy": 0.5, "f1": None}}
    assert found["cost"]["phases"] == [1.0, None] and found == load_record(tmp_path / "record.json")
    wanted = "id status reason config versions git data backbone plan parameters metrics epochs best_epoch cost"
    assert set(wanted.split()) <= set(found)
    costs = "seconds phases cache_seconds seconds_saved peak_host_bytes peak_device_bytes samples_per_second"
    assert set(costs.split()) <= set(found["cost"])


def test_versions_name_what_decides_a_result() -> None:
    found = read_versions()
    assert {"python", "torch", "timm", "pytorch-lightning", "numpy"} <= set(found) and all(found.values())


def test_git_knows_commit_and_cleanness(tmp_path: Path) -> None:
    assert read_git_state(tmp_path) is None

    def git(*words: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD").strip()
    assert read_git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "file").write_text("two")
    assert read_git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_a_record_of_as_many_classes_as_may_be_is_small_enough_to_be_read(tmp_path: Path) -> None:
    Record("abc", "failed", {}, confusion=[[10**5] * 100] * 100).write(tmp_path)
    size = (tmp_path / "record.json").stat().st_size
    assert size * (MOST_CLASSES / 100) ** 2 < MOST_BYTES
    assert len(load_record(tmp_path / "record.json")["confusion"]) == 100
