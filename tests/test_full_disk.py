"""A disk that is full or read-only at any write: the record names it, or failing that the terminal (promise 37)."""

import errno
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.configs import plain_run
from tests.disks import Disk, small_disk

import frostline.launchers.dispatch
from frostline.commands import main
from frostline.files.atomic import RESERVE, WriteError, reserve_room, write_atomic
from frostline.launchers.dispatch import conclude_run, describe_exit
from frostline.results.log import LogFile, list_incomplete_logs
from frostline.results.owner import take_folder
from frostline.results.record import Record
from frostline.results.store import RESOLVED, read_record

PAGE = 4096
TINY = [
    "data=digits",
    "data.num_per_class=5",
    "data.size=32",
    "backbone=timm",
    "backbone.name=test_resnet",
    "backbone.weights=none",
    "epochs=1",
    "head.solver=null",
    "trainer.accelerator=cpu",
    "launcher.threads=1",
]
Text = pytest.CaptureFixture[str]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", 4 << 20) as found:
        yield found


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker of `frostline run` be this process: it has imported everything already."""
    from frostline.launchers.worker import run

    monkeypatch.setattr(
        frostline.launchers.dispatch, "_work", lambda folder, config: describe_exit(folder, run(folder / RESOLVED))
    )


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_a_disk_that_is_full_at_any_write_is_named_and_the_same_command_goes_on(disk: Disk, capsys: Text) -> None:
    """Free pages from none to enough: resolved.yaml, log.txt, checkpoint, metrics.csv, predictions, cache, record."""
    command, ends = ["run", *TINY, "freeze=linear_probe", f"outputs={disk.root / 'out'}"], dict[str, int]()
    code = -1
    for pages in (*range(0, 30, 3), *range(30, 76, 8), 140):
        disk.leave(pages * PAGE)
        code = main(command)
        said = capsys.readouterr().err
        records = list(disk.root.glob("out/runs/*/record.json"))
        reason = json.loads(records[0].read_text())["reason"] if records else said
        assert "Traceback" not in said and len(said.splitlines()) < 25, said
        assert code == 0 or "No space left on device" in reason or "the disk was full" in reason, (pages, reason)
        ends[reason and reason.partition("/disk/")[2].partition(" ")[0].partition("'")[0].rpartition("/")[2]] = pages
        assert not list(disk.root.glob(f"out/runs/*/{RESERVE}")), "its room is given back"
        shutil.rmtree(disk.root / "out", ignore_errors=True)
    assert code == 0 and len(ends) > 4, f"too few kinds of writes were hit: {ends}"


def record(**more: Any) -> Record:
    return Record("r", "failed", {"seed": 0, "options": ["x" * 50] * 100}, "killed", **more)


def test_a_record_that_hardly_fits_takes_the_reserve(disk: Disk) -> None:
    folder = disk.root / "run"
    reserve_room(folder)
    disk.leave(0)
    record(notes=["y" * 1000] * 10).write(folder)
    found = read_record(folder)
    assert found is not None and found["reason"] == "killed" and found["notes"]
    assert not (folder / RESERVE).exists()


def test_of_one_that_does_not_fit_even_so_the_reason_stands(disk: Disk) -> None:
    folder = disk.root / "run"
    reserve_room(folder)
    disk.leave(0)
    scores = {"metrics": {"val": {"accuracy": 1.0}}, "notes": ["y" * 1000] * 80}
    written = Record("r", "done", {"seed": 0}, **scores).write(folder)
    found = read_record(folder)
    assert found is not None and found["status"] == written.status == "failed", "a run without its scores is not done"
    assert found["reason"].endswith("record.json cannot be written (No space left on device)")


def test_where_nothing_fits_the_outcome_says_it(disk: Disk) -> None:
    folder = disk.root / "run"
    folder.mkdir()
    disk.leave(0)
    outcome = conclude_run(folder, plain_run(force=False), "the worker was killed by SIGKILL")
    assert outcome.record["reason"].startswith("the worker was killed by SIGKILL; ")
    assert "record.json cannot be written (No space left on device)" in outcome.record["reason"]
    assert not outcome.path.exists() and list(folder.iterdir()) == []


def test_a_folder_on_a_full_disk_is_owned_by_nobody(disk: Disk) -> None:
    disk.leave(0)
    with pytest.raises(WriteError, match="owner.json cannot be written"):
        take_folder(disk.root)
    assert not (disk.root / "owner.json").exists()
    disk.leave(PAGE)
    assert take_folder(disk.root)


def test_a_log_on_a_full_disk_ends_without_a_word_too_many(disk: Disk, capsys: Text) -> None:
    handler, root = LogFile(disk.root / "log.txt"), logging.getLogger()
    disk.leave(0)
    root.addHandler(handler)
    try:
        for _ in range(100):
            root.warning("a line %s", "x" * 1000)
        assert list_incomplete_logs() == ["log.txt is not whole (No space left on device)."]
    finally:
        root.removeHandler(handler)
        handler.close()
    assert "Traceback" not in capsys.readouterr().err


def test_a_log_that_is_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.txt")
    handler = LogFile(tmp_path / "log.txt")
    assert str(handler.refused) == "it is a pipe, not a file"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO])
def test_whatever_the_disk_says_names_the_file_and_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "file"
    write_atomic(path, "earlier")

    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(WriteError) as found:
        write_atomic(path, "later")
    assert str(found.value) == f"{path} cannot be written ({os.strerror(number)})" and found.value.errno == number
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]


def spoil_by_remount(root: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)


def spoil_by_filling(root: Path) -> None:
    Disk(root).leave(0)


COMMANDS = {
    "run": ["run", *TINY],
    "run -m": ["run", "-m", "seed=0,1", *TINY],
    "compare": ["compare", "compare.strategies=[full]", "compare.seeds=[0]", *TINY],
    "compare anew": ["compare", "compare.strategies=[full]", "compare.seeds=[0]", "compare.name=there", *TINY],
    "tune": ["tune", "optimizer.lr=0.1,0.2", "tune.trials=1", *TINY],
}


@pytest.mark.parametrize("spoil", [spoil_by_remount, spoil_by_filling], ids=["read-only", "full"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_on_a_spoilt_disk_ends_with_one_sentence(
    disk: Disk, capsys: Text, command: list[str], spoil: Callable[[Path], None]
) -> None:
    """Promise 6."""
    (disk.root / "out" / "comparisons" / "there").mkdir(parents=True)
    spoil(disk.root)
    assert main([*command, f"outputs={disk.root / 'out'}"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and str(disk.root / "out") in said[0], said
    assert "Read-only file system" in said[0] or "No space left on device" in said[0]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_file_where_the_output_folder_should_be(tmp_path: Path, capsys: Text, command: list[str]) -> None:
    (tmp_path / "out").write_text("no folder")
    assert main([*command, f"outputs={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and str(tmp_path / "out") in said[0] and "Not a directory" in said[0]


@pytest.mark.parametrize("spoil", [spoil_by_remount, spoil_by_filling], ids=["read-only", "full"])
def test_a_report_into_a_spoilt_disk(disk: Disk, tmp_path: Path, capsys: Text, spoil: Callable[[Path], None]) -> None:
    config = {"seed": 0, "freeze": {"_target_": "frostline.freeze.strategies.full"}}
    Record("a", "failed", config, "killed").write(tmp_path / "runs" / "a")
    spoil(disk.root)
    assert main(["report", str(tmp_path / "runs"), "--out", str(disk.root / "report")]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert str(disk.root / "report") in said and "cannot be written" in said
    assert main(["list", str(disk.root)]) == 0
