"""One process at a time owns a folder, and a dead owner owns nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

from frostline.results.owner import OWNER, own_folder, take_folder


def write(path: Path, **changes: object) -> None:
    assert take_folder(path)
    owner = json.loads((path / OWNER).read_text())
    (path / OWNER).write_text(json.dumps(owner | changes))


def test_a_folder_in_use_gives_its_sibling(tmp_path: Path) -> None:
    with (
        own_folder(tmp_path / "demo") as first,
        own_folder(tmp_path / "demo") as second,
        own_folder(tmp_path / "demo") as third,
    ):
        assert [path.name for path in (first, second, third)] == ["demo", "demo-2", "demo-3"]
    with own_folder(tmp_path / "demo") as again:
        assert again.name == "demo"


def test_a_dead_owner_is_no_owner(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    write(tmp_path, pid=child.pid)
    assert take_folder(tmp_path)


def test_a_process_number_used_again_is_no_owner(tmp_path: Path) -> None:
    write(tmp_path, started="1")
    assert take_folder(tmp_path)


def test_an_owner_on_another_machine_is_taken_to_be_dead(tmp_path: Path) -> None:
    write(tmp_path, host="elsewhere")
    assert take_folder(tmp_path)


def test_a_living_owner_keeps_the_folder(tmp_path: Path) -> None:
    assert take_folder(tmp_path)
    code = "import sys; from pathlib import Path; from frostline.results.owner import take_folder; "
    code += "sys.exit(take_folder(Path(sys.argv[1])))"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ).returncode == 0


def test_a_torn_owner_file_is_no_owner_once_it_is_old(tmp_path: Path) -> None:
    (tmp_path / OWNER).write_text('{"host": ')
    assert not take_folder(tmp_path), "somebody may be writing it just now"
    os.utime(tmp_path / OWNER, (1, 1))
    assert take_folder(tmp_path)


RACE = """
import json, multiprocessing, os, sys
from pathlib import Path
from frostline.results.owner import OWNER, take_folder

def runner(folder, barrier, results):
    for round in range(200):
        barrier.wait()
        results.put((round, take_folder(folder / str(round))))
    barrier.wait()  # an owner that has ended is none

context = multiprocessing.get_context("fork")
folder, barrier, results = Path(sys.argv[1]), context.Barrier(4), context.Queue()
for round in range(200):
    (folder / str(round)).mkdir()
    if round % 2:
        (folder / str(round) / OWNER).write_text(json.dumps({"host": os.uname().nodename, "pid": 1, "started": "0"}))
runners = [context.Process(target=runner, args=(folder, barrier, results)) for _ in range(4)]
[one.start() for one in runners]
taken = [round for round, took in (results.get() for _ in range(800)) if took]
[one.join() for one in runners]
print(len(taken), len(set(taken)))
"""


def test_of_many_that_want_a_folder_at_the_same_moment_one_gets_it(tmp_path: Path) -> None:
    """A free folder as well as one whose owner is dead."""
    done = subprocess.run([sys.executable, "-c", RACE, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["200", "200"], done.stdout + done.stderr
