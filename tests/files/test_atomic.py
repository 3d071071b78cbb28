"""Files that are whole or absent, and their sums."""

import hashlib
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.files.atomic import CHUNK, describe_irregular, sha256_file, sha256_json, write_atomic, write_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)

REWRITE = """
import sys
from pathlib import Path
from frostline.files.atomic import write_atomic
print("ready", flush=True)
for turn in range(400):
    write_atomic(Path(sys.argv[1]), bytes([turn % 256]) * 100_000)
"""


def test_a_reader_sees_one_content_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100_000))
    with subprocess.Popen([sys.executable, "-c", REWRITE, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        seen = set()
        while writer.poll() is None:
            content = path.read_bytes()
            assert len(content) == 100_000 and len(set(content)) == 1
            seen.add(content[0])
    assert writer.returncode == 0 and len(seen) > 1
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomic(path, "t\u00e4xt")
    assert path.read_bytes() == "t\u00e4xt".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_full_disk_leaves_the_earlier_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write_atomic(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):
        write_atomic(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_the_sum_of_a_file_is_that_of_its_content(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@settings(deadline=None)
@given(JSON)
def test_json_comes_back_and_its_sum_stays(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert json.loads(path.read_text()) == value
    assert sha256_json(json.loads(path.read_text())) == sha256_json(value)


def test_the_sum_of_a_value_does_not_depend_on_the_order_of_its_keys() -> None:
    assert (
        sha256_json({"a": 1, "b": [2, 3]}) == sha256_json({"b": (2, 3), "a": 1}) != sha256_json({"a": 1, "b": [3, 2]})
    )


def test_what_is_no_file_is_named_without_being_opened(tmp_path: Path) -> None:
    file, pipe, link = tmp_path / "file", tmp_path / "pipe", tmp_path / "link"
    file.write_bytes(b"")
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    assert describe_irregular(pipe) == "is a pipe, not a file"
    assert describe_irregular(link) == "is a device, not a file"
    assert describe_irregular(tmp_path) == "is a folder, not a file"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert describe_irregular(tmp_path / "socket") == "is a socket, not a file"
    assert [describe_irregular(one) for one in (file, tmp_path / "missing", file / "below", "a\0b")] == [None] * 4
