"""The data index: answers hold while files are unchanged, whatever is done to hide a change; damage costs only time."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frostline.data import index as module
from frostline.data.index import DataIndex, read_digests, read_index


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file that was written just now be known at once."""
    monkeypatch.setattr(module, "SETTLED_NS", 0)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "data" / f"{number}.bin" for number in range(5)]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_bytes(path.name.encode())
    return [str(path) for path in paths]


def asked(index: DataIndex, files: list[str], question: str = "size") -> list[str]:
    """Ask for sizes; return the files that had to be looked at."""
    looked: list[str] = []

    def look(unknown: list[str]) -> list[int]:
        looked.extend(unknown)
        return [os.path.getsize(path) if os.path.exists(path) else -1 for path in unknown]

    answers = index.ask(question, files, look)
    assert answers == [os.path.getsize(path) if os.path.exists(path) else -1 for path in files]
    return looked


def test_what_is_known_is_not_read_again_by_another_process(tmp_path: Path, files: list[str]) -> None:
    assert asked(DataIndex(tmp_path / "index", "data"), files) == files
    assert asked(DataIndex(tmp_path / "index", "data"), files) == []
    assert asked(DataIndex(tmp_path / "index", "data"), files, "another question") == files
    assert asked(DataIndex(tmp_path / "index", "data"), files) == []
    assert asked(DataIndex(tmp_path / "index", "elsewhere"), files) == files, "places do not share"
    assert asked(DataIndex(), files) == files, "and without a folder nothing is kept"


def edit_and_hide(path: Path) -> None:
    """Change a byte, keep the size, and put the modification time back."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_and_hide(path: Path) -> None:
    """Put another file of the same size and time in its place."""
    before = path.stat()
    other = path.with_suffix(".other")
    other.write_bytes(b"x" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    "change",
    [edit_and_hide, replace_and_hide, lambda path: path.write_bytes(b"longer than it was"), lambda path: path.unlink()],
    ids=["edited in place", "replaced", "longer", "gone"],
)
def test_a_change_is_noticed_however_it_is_hidden(
    tmp_path: Path, files: list[str], change: Callable[[Path], object]
) -> None:
    index = DataIndex(tmp_path / "index", "data")
    before = read_digests(index, files)
    time.sleep(0.02)  # beyond a tick of the file system's clock
    change(Path(files[2]))
    again = DataIndex(tmp_path / "index", "data")
    after = read_digests(again, files)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False, True, True]
    assert after == read_digests(DataIndex(), files)


def test_a_file_that_changed_just_before_it_was_read_is_read_again(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_NS", 10**12)
    index = tmp_path / "index"
    assert asked(DataIndex(index, "data"), files) == asked(DataIndex(index, "data"), files) == files


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path: Path, files: list[str]) -> None:
    def read(unknown: list[str]) -> list[str]:
        for path in unknown:
            Path(path).write_bytes(b"something else")
        return ["old"] * len(unknown)

    assert DataIndex(tmp_path / "index", "data").ask("content", files, read) == ["old"] * 5
    assert (
        DataIndex(tmp_path / "index", "data").ask("content", files, lambda unknown: ["new"] * len(unknown))
        == ["new"] * 5
    )


@given(cut=st.integers(0, 10**6), flip=st.booleans(), junk=st.binary(max_size=50))
def test_a_damaged_index_is_made_anew(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: bool, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    file = folder / "a.bin"
    file.write_bytes(b"content")
    index = DataIndex(folder / "index", "data")
    assert index.path is not None
    asked(index, [str(file)])
    content = bytearray(index.path.read_bytes())
    if flip:
        content[cut % len(content)] ^= 1
    else:
        content[cut % len(content) :] = junk
    index.path.write_bytes(bytes(content))
    assert asked(DataIndex(folder / "index", "data"), [str(file)]) == [str(file)]
    assert asked(DataIndex(folder / "index", "data"), [str(file)]) == []
    shutil.rmtree(folder)


def test_two_writers_lose_nothing_but_time(tmp_path: Path, files: list[str]) -> None:
    one, other = DataIndex(tmp_path / "index", "data"), DataIndex(tmp_path / "index", "data")
    asked(one, files[:3])
    asked(other, files[3:])
    assert asked(DataIndex(tmp_path / "index", "data"), files) == []


def test_the_index_is_bounded(tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE", 1)
    monkeypatch.setattr(module, "MOST_SETS", 3)
    asked(DataIndex(tmp_path / "index", "data"), files)
    index = DataIndex(tmp_path / "index", "data")
    asked(index, files[:2], "another")
    assert index.path is not None and len(read_index(index.path)) == 3, "those asked for, and one to spare"
    for number in range(6):
        asked(DataIndex(tmp_path / "index", f"place {number}"), files[:1])
    assert len(list((tmp_path / "index").iterdir())) == 3


def test_what_is_no_file_is_named_and_never_opened(tmp_path: Path, files: list[str]) -> None:
    pipe = tmp_path / "data" / "pipe.png"
    os.mkfifo(pipe)
    index = DataIndex(tmp_path / "index", "data")
    assert read_digests(index, [str(pipe), str(tmp_path), str(tmp_path / "gone")])[0] == "is a pipe, not a file"
    assert index.path is None or not read_index(index.path)


def test_an_index_that_cannot_be_written_costs_only_its_help(tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "index").write_text("a file where the folder should be")
    assert asked(DataIndex(tmp_path / "index", "data"), files) == files
