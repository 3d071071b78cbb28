"""What stands where a run's own files should stand: pipes, sockets, devices, giants and rubbish are named.

Promises 34, 43 and 47.
"""

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.finished_runs import rows
from tests.test_full_disk import TINY

from frostline.commands import main
from frostline.errors import UserError
from frostline.features.cache import MANIFEST, Store, Writer
from frostline.results.record import Cost, Record
from frostline.results.store import run_folder, run_id

SCORES = {"val": {"accuracy": 0.5}, "test": {"accuracy": 0.5}}
CONFIG = {
    "seed": 0,
    "monitor": "accuracy",
    "data": {"_target_": "frostline.data.image.datasets.Digits"},
    "backbone": {"_target_": "frostline.backbones.traced.builders.timm_backbone", "name": "test_resnet"},
    "freeze": {"_target_": "frostline.freeze.strategies.full"},
}
ABOUT = {"backbone": "[red]b[/blue]\x1b[2J", "cut": "c", "split": "train", "view": 0, "samples": 2}
Text = pytest.CaptureFixture[str]


def be_pipe(path: Path) -> None:
    os.mkfifo(path)


def be_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has few letters
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
    os.chdir(here)


def be_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def be_giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def be_kernel_log(path: Path) -> None:
    path.symlink_to("/proc/kmsg")  # a file by its mode, which waits for the kernel's next word


def be_folder(path: Path) -> None:
    path.mkdir()


def be_rubbish(path: Path) -> None:
    path.write_bytes(b"\xff\x00" * 99)


def be_nested(path: Path) -> None:
    path.write_text('{"a":' * 900 + "1" + "}" * 900)


ODD = [be_pipe, be_socket, be_link, be_giant, be_kernel_log, be_folder, be_rubbish, be_nested]
odd = pytest.mark.parametrize("put", ODD, ids=[one.__name__.removeprefix("be_") for one in ODD])
Put = Callable[[Path], None]


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """End a test that waits for what never comes."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two runs that are done, of one comparison."""
    listed = []
    for seed, name in enumerate(("one", "two")):
        record = Record(name, "done", {**CONFIG, "seed": seed}, metrics=SCORES, cost=Cost(seconds=1.0))
        record.write(tmp_path / "out" / "runs" / name)
        shared = {"label": "full", "block": {}, "lr": 0.1, "trial": False}
        listed.append({**shared, "seed": seed, "path": f"../../runs/{name}"})
    folder = tmp_path / "out" / "comparisons" / "toy"
    folder.mkdir(parents=True)
    content = {"format": 2, "factor": "freeze", "axes": {"freeze": ["full"]}, "tuned": [], "runs": listed}
    (folder / "comparison.json").write_text(json.dumps(content))
    return tmp_path / "out"


def replaced(path: Path, put: Put) -> None:
    path.unlink(missing_ok=True)
    put(path)


def sentence(capsys: Text, *arguments: object) -> str:
    """Run a command that is refused; return what it said in one line."""
    assert main([*map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@odd
def test_a_record_is_named_and_the_others_are_shown(outputs: Path, tmp_path: Path, capsys: Text, put: Put) -> None:
    odd_record = outputs / "runs" / "two" / "record.json"
    replaced(odd_record, put)
    assert main(["list", str(outputs), "--json"]) == 0
    found = {row["id"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found["one"]["status"] == "done" and found["two"]["status"] == "damaged" and found["two"]["reason"]
    assert main(["report", str(outputs / "comparisons" / "toy")]) == 0
    sound, lost = rows(outputs / "comparisons" / "toy" / "results.csv")
    assert sound["status"] == "done" and lost["status"] == "damaged"
    assert lost["reason"].startswith("its record is damaged: ")
    assert main(["report", str(outputs / "runs"), "--out", str(tmp_path / "report")]) == 0
    assert "Left out: two (its record is damaged" in (tmp_path / "report" / "report.md").read_text()
    capsys.readouterr()
    assert str(odd_record) in sentence(capsys, "predict", outputs / "runs" / "two", "x.png")
    assert str(odd_record) in sentence(capsys, "export", outputs / "runs" / "two", "--format", "onnx")


@odd
def test_run_and_compare_name_a_record(tmp_path: Path, capsys: Text, put: Put) -> None:
    from frostline.comparison.cells import make_design

    words = [*TINY, "compare.strategies=[full]", "compare.seeds=[0]", f"outputs={tmp_path / 'out'}"]
    found = make_design(words, None)
    (config,) = found.configs()
    folder = run_folder(tmp_path / "out", run_id(found.cells[0].job(0).config))
    folder.mkdir(parents=True)
    put(folder / "record.json")
    assert config.outputs == str(tmp_path / "out")
    said = sentence(capsys, "run", *TINY, "freeze=full", f"outputs={tmp_path / 'out'}")
    assert f"{folder / 'record.json'}: this is no record of a run (" in said and "remove it" in said


@odd
def test_a_comparison_is_named(outputs: Path, capsys: Text, put: Put) -> None:
    path = outputs / "comparisons" / "toy" / "comparison.json"
    replaced(path, put)
    said = sentence(capsys, "report", path.parent)
    assert str(path.parent) in said and "this is no comparison" in said


@odd
def test_a_study_is_named(tmp_path: Path, capsys: Text, put: Put) -> None:
    (tmp_path / "study").mkdir()
    put(tmp_path / "study" / "study.json")
    said = sentence(capsys, "report", tmp_path / "study")
    assert str(tmp_path / "study") in said and ("this is no study" in said or "this is no comparison's folder" in said)


@pytest.mark.parametrize("put", [be_pipe, be_link, be_folder, be_rubbish])
def test_a_studys_database_is_named(tmp_path: Path, capsys: Text, put: Put) -> None:
    folder = tmp_path / "out" / "studies" / "mine"
    folder.mkdir(parents=True)
    put(folder / "study.db")
    words = ["tune", *TINY, "optimizer.lr=0.1,0.2", "tune.trials=1", "tune.name=mine", f"outputs={tmp_path / 'out'}"]
    said = sentence(capsys, *words)
    assert (str(folder / "study.db") in said or "/dev/zero" in said) and "cannot be used (" in said
    assert not (folder / "owner.json").exists()


@odd
def test_a_report_does_without_other_files(outputs: Path, put: Put) -> None:
    folder, picture = outputs / "runs" / "one", "mistakes/00.png"
    (folder / "mistakes").mkdir()
    for name in ("metrics.csv", "predictions.csv", picture):
        put(folder / name)
    record = json.loads((folder / "record.json").read_text())
    wrong = {"sample": "s", "label": "a", "prediction": "b", "probability": 1.0, "picture": picture}
    (folder / "record.json").write_text(json.dumps({**record, "mistakes": [wrong]}))
    assert main(["report", str(outputs / "comparisons" / "toy")]) == 0
    assert {row["status"] for row in rows(outputs / "comparisons" / "toy" / "results.csv")} == {"done"}
    assert not list((outputs / "comparisons" / "toy" / "figures").glob("*.png"))


@odd
@pytest.mark.parametrize("what", ["manifest", "content"])
def test_a_cache_lists_verifies_and_prunes_around_it(tmp_path: Path, capsys: Text, put: Put, what: str) -> None:
    store = Store(tmp_path / "out" / "cache")
    for key in ("sound", "strange"):
        writer = Writer(store, key, ABOUT)
        writer.append(b"1234")
        writer.commit([writer.finish(2)])
    entry = store.find("strange")
    assert entry is not None
    replaced(entry.path / MANIFEST if what == "manifest" else entry.contents[0], put)
    place = ["--outputs", str(tmp_path / "out")]
    assert main(["cache", "list", *place]) == 0
    said = capsys.readouterr().out
    assert "sound" in said and "\x1b" not in said
    assert main(["cache", "verify", *place]) == 1
    assert capsys.readouterr().out.splitlines() == ["damaged: strange", "1 sound, 1 damaged"]
    assert store.open("strange") is None and store.open("sound") is not None
    assert main(["cache", "prune", *place, "--max-gb", "0"]) == 0
    assert capsys.readouterr().out == "1 dropped, 0 left\n"


@odd
@pytest.mark.parametrize("name", ["manifest.json", "epoch-00000.safetensors"])
def test_a_checkpoint_is_named(tmp_path: Path, put: Put, name: str, caplog: pytest.LogCaptureFixture) -> None:
    from frostline.training.checkpoint import Checkpoints

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, {"epoch": 0}, best=True)
    replaced(tmp_path / name, put)
    if name == "manifest.json":
        with pytest.raises(UserError, match=r"manifest\.json is damaged \("):
            checkpoints.load_best()
    else:
        assert checkpoints.load_best() is None and "epoch-00000.safetensors is damaged or missing" in caplog.text


def test_a_part_outside_of_its_entry_and_an_entry_that_is_a_link_stay_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    (tmp_path / "mine").write_bytes(b"mine")
    writer = Writer(store, "key", ABOUT)
    part = {**writer.finish(1), "file": "../../mine"}
    writer.commit([part])
    assert store.find("key") is None and store.open("key") is None
    (tmp_path / "cache" / "linked").symlink_to(tmp_path)
    store.remove("linked")
    store.prune(0)
    assert (tmp_path / "mine").read_bytes() == b"mine" and not list((tmp_path / "cache").glob("[!.]*"))


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", "a\nb", ""])
@pytest.mark.parametrize("key", ["compare.name", "tune.name"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, capsys: Text, key: str, name: str) -> None:
    words = ["compare.seeds=[0]", "compare.strategies=[full]"] if key == "compare.name" else ["optimizer.lr=0.1,0.2"]
    said = sentence(
        capsys, key.split(".")[0], *TINY, *words, f"{key}={json.dumps(name)}", f"outputs={tmp_path / 'out'}"
    )
    assert said.startswith(f"frostline: {key}: ") and not (tmp_path / "out").exists()


def test_a_report_removes_no_file_and_writes_through_no_link_of_others(
    outputs: Path, tmp_path: Path, capsys: Text
) -> None:
    folder, photos = outputs / "comparisons" / "toy", tmp_path / "photos"
    photos.mkdir()
    (photos / "mine.svg").write_text("mine")
    (folder / "figures").symlink_to(photos)
    assert f"{folder / 'figures'}: this is a link" in sentence(capsys, "report", folder)
    (folder / "figures").unlink()
    (folder / "figures").mkdir()
    (folder / "figures" / "mine.svg").write_text("mine")
    (folder / "report.md").write_text("![](figures/../../../../photos/mine.svg) ![](figures/old.svg)")
    (folder / "figures" / "old.svg").write_text("of a report before")
    (folder / "report.html").symlink_to(photos / "mine.svg")
    assert main(["report", str(folder)]) == 0
    assert (photos / "mine.svg").read_text() == (folder / "figures" / "mine.svg").read_text() == "mine"
    assert not (folder / "figures" / "old.svg").exists() and not (folder / "report.html").is_symlink()


def test_a_date_that_no_calendar_has(outputs: Path, capsys: Text) -> None:
    try:
        os.utime(outputs / "runs" / "one" / "record.json", (1e15, 1e15))
    except OSError:
        pytest.skip("this file system has no such times")
    assert main(["list", str(outputs)]) == 0
    assert "one" in capsys.readouterr().out


def test_names_of_folders_do_not_command_the_terminal(outputs: Path, capsys: Text) -> None:
    shutil.copytree(outputs / "runs" / "one", outputs / "runs" / "x\x1b[2J1")
    shutil.copytree(outputs / "runs" / "one", outputs / "runs" / "x\x1b[2J2")
    assert "\x1b" not in sentence(capsys, "predict", "x", "a.png", "--outputs", outputs)
