"""What killed processes leave is gone after the next one, and nobody's who lives."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frostline.features.cache import Store, Writer
from frostline.files import leftovers
from frostline.files.atomic import write_atomic
from frostline.files.leftovers import (
    FOREIGN_S,
    make_name,
    make_private_folder,
    name_temporary,
    private_folder,
    sweep,
    temporary_folder_beside,
)
from frostline.launchers.ray.cluster import SESSIONS

KILLED = """
import os, sys
from pathlib import Path
import frostline.files.atomic
from frostline.files.leftovers import make_private_folder, temporary_folder_beside
place, how = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), 9)
if how == "file":
    os.fsync = die
    frostline.files.atomic.write_atomic(place / "record.json", b"half")
elif how == "folder":
    with temporary_folder_beside(place / "exported") as made:
        (made / "model.onnx").write_bytes(b"half")
        die()
elif how == "cache":
    from frostline.features.cache import Store, Writer
    writer = Writer(Store(place), "key", {})
    writer.append(b"half")
    writer.file.flush()
    die()
elif how == "prediction":
    from frostline.commands.predict import opening_output
    with opening_output(place / "labels.csv") as file:
        file.write("half")
        file.flush()
        die()
else:
    make_private_folder(place)
    die()
"""


@pytest.mark.parametrize("how", ["file", "folder", "cache", "prediction", "scratch"])
def test_what_a_killed_process_left_is_gone_after_the_next_that_writes_there(how: str, tmp_path: Path) -> None:
    """Promise 41."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), how])
    assert done.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".somebody.elses.tmp").touch()
    if how == "cache":
        Writer(Store(tmp_path), "key", {}).abandon()
    elif how == "scratch":
        make_private_folder(tmp_path).rmdir()
    else:
        write_atomic(tmp_path / "other.json", b"whole")
    assert {path.name for path in tmp_path.iterdir()} <= {".somebody.elses.tmp", "other.json"}


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    code = "import sys, time; from frostline.files.leftovers import name_temporary; from pathlib import Path\n"
    code += "name_temporary(Path(sys.argv[1]) / 'x').touch(); print('ready', flush=True); time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
        name_temporary(tmp_path / "own").touch()
        sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        other.kill()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_another_machines_is_left_until_nothing_has_touched_it_for_long(tmp_path: Path) -> None:
    young, old, grows = (tmp_path / f".frost-0000{digit}.1.1.abcd.tmp" for digit in "123")
    for path in (young, old):
        path.touch()
    grows.mkdir()
    (grows / "part").touch()
    long_ago = time.time() - FOREIGN_S - 60
    for path in (old, grows):
        os.utime(path, (long_ago, long_ago))
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {young, grows}


def test_a_number_used_again_is_not_taken_for_its_first_owner(tmp_path: Path) -> None:
    mine = make_name()
    where, process, _, end = mine.split(".")
    (tmp_path / f".{where}.{process}.1.{end}.tmp").touch()
    (tmp_path / f".{mine}.tmp").touch()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".{mine}.tmp"]


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kept").touch()
    place = tmp_path / "place"
    place.mkdir()
    where = make_name().split(".")[0]
    (place / f".{where}.4194305.1.abcd.tmp").symlink_to(tmp_path / "data")
    sweep(place)
    assert not list(place.iterdir()) and (tmp_path / "data" / "kept").exists()


def test_other_users_things_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = make_name().split(".")[0]
    (tmp_path / f"{where}.4194305.1.abcd").mkdir()
    monkeypatch.setattr(leftovers.os, "geteuid", lambda: os.getuid() + 1)
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_is_not_there_or_not_ours_is_left_alone(tmp_path: Path) -> None:
    sweep(tmp_path / "nowhere")
    with temporary_folder_beside(tmp_path / "deep" / "name") as made:
        assert made.parent == tmp_path / "deep"
    assert not list((tmp_path / "deep").iterdir())


def test_a_scratch_folder_is_private_and_its_path_short_enough_for_rays_sockets() -> None:
    with private_folder() as made:
        assert made.stat().st_mode & 0o777 == 0o700
    where = make_name().partition(".")[0]
    session = "session_2026-11-28_10-43-25_191682_4194304/sockets/plasma_store"
    assert len(f"/tmp/{where}.4194304.9999999999.abcd/{SESSIONS}/{session}") <= 107
