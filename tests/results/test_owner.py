"""One process at a time owns a folder, and a dead owner owns nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

from frostline.results.owner import OWNER, owned, take


def write(path: Path, **changes: object) -> None:
    assert take(path)
    owner = json.loads((path / OWNER).read_text())
    (path / OWNER).write_text(json.dumps(owner | changes))


def test_a_folder_in_use_gives_its_sibling(tmp_path: Path) -> None:
    with owned(tmp_path / "demo") as first, owned(tmp_path / "demo") as second, owned(tmp_path / "demo") as third:
        assert [path.name for path in (first, second, third)] == ["demo", "demo-2", "demo-3"]
    with owned(tmp_path / "demo") as again:
        assert again.name == "demo"


def test_a_dead_owner_is_no_owner(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    write(tmp_path, pid=child.pid)
    assert take(tmp_path)


def test_a_process_number_used_again_is_no_owner(tmp_path: Path) -> None:
    write(tmp_path, started="1")
    assert take(tmp_path)


def test_an_owner_on_another_machine_is_taken_to_be_dead(tmp_path: Path) -> None:
    write(tmp_path, host="elsewhere")
    assert take(tmp_path)


def test_a_living_owner_keeps_the_folder(tmp_path: Path) -> None:
    assert take(tmp_path)
    code = "import sys; from pathlib import Path; from frostline.results.owner import take; "
    code += "sys.exit(take(Path(sys.argv[1])))"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ).returncode == 0


def test_a_torn_owner_file_is_no_owner(tmp_path: Path) -> None:
    (tmp_path / OWNER).write_text('{"host": ')
    assert take(tmp_path)
