"""Sounds whose header does not know how long they are, as recorders leave them that write into a pipe."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.sounds import tone

from frostline.data.speech.sound import Extent, Unusable, find_problem, read_shape, read_wave

RATE = 16000
EXTENT = Extent(RATE, RATE, 0.1)
WAVE = tone(300.0, 0.5, RATE)


def written(path: Path, subtype: str = "PCM_16", kind: str = "WAV", channels: int = 1) -> bytearray:
    soundfile.write(path, np.stack([WAVE] * channels, axis=1), RATE, subtype=subtype, format=kind)
    return bytearray(path.read_bytes())


def lengths(content: bytearray, whole: int | None, data: int | None) -> bytearray:
    """Put lengths into the header of a WAV file."""
    at = content.index(b"data") + 4
    if whole is not None:
        content[4:8] = struct.pack("<I", whole)
    if data is not None:
        content[at : at + 4] = struct.pack("<I", data)
    return content


def put(path: Path, content: bytes | bytearray) -> str:
    path.write_bytes(content)
    return str(path)


STREAMED = [
    (0x7FFFF024, 0x7FFFF000),  # sox
    (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
    (0x80000024, 0x80000000),  # arecord
    (0x7FFFFFFF, 0x7FFFFFFF),
    (0xFFFFFFFF, 0xFFFFFFFF - 44),
    (0, 0),
    (0xFFFFFFFF, 0),
    (None, 0xFFFFFFFF),
    (0, None),
]


@pytest.mark.parametrize(("whole", "data"), STREAMED)
@pytest.mark.parametrize(
    ("subtype", "kind"), [("PCM_16", "WAV"), ("PCM_24", "WAVEX"), ("FLOAT", "WAV"), ("ULAW", "WAV")]
)
def test_a_streamed_wav_is_read_to_its_end(tmp_path: Path, whole: int, data: int, subtype: str, kind: str) -> None:
    path = tmp_path / "a.wav"
    finished = read_wave(put(path, written(path, subtype, kind, 2)), EXTENT)
    streamed = put(path, lengths(written(path, subtype, kind, 2), whole, data))
    before = path.read_bytes()
    assert np.array_equal(read_wave(streamed, EXTENT), finished) and read_shape(streamed) == (8000, RATE, 2)
    assert path.read_bytes() == before


@pytest.mark.parametrize("long", [0, 2**64 - 1, 2**63 - 1])
def test_a_streamed_rf64_is_read_to_its_end(tmp_path: Path, long: int) -> None:
    path = tmp_path / "a.wav"
    content = written(path, kind="RF64")
    finished = read_wave(str(path), EXTENT)
    at = content.index(b"ds64") + 8
    content[at : at + 24] = struct.pack("<QQQ", long, long, 0)
    assert np.array_equal(read_wave(put(path, content), EXTENT), finished) and read_shape(str(path)).frames == 8000


def test_a_flac_that_does_not_say_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, WAVE, RATE)
    finished = read_wave(str(path), EXTENT)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # the 36 bits of the number of samples
    put(path, content)
    assert read_shape(str(path)) == (8000, RATE, 1) and np.array_equal(read_wave(str(path), EXTENT), finished)
    assert len(read_wave(str(path), Extent(RATE, 1000, 0.0))) == 1000


TRUNCATED: dict[str, Callable[[bytearray], bytearray]] = {
    "as it was": lambda content: content[:9000],
    "of unknown length, whose samples are counted": lambda content: lengths(content, 0, None)[:9000],
    "of the largest length, whose samples are counted": lambda content: lengths(content, 0xFFFFFFFF, None)[:9000],
    "of no samples": lambda content: lengths(content, None, 0),
    "within its header": lambda content: content[:40],
}


@pytest.mark.parametrize("how", TRUNCATED)
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
def test_what_is_truncated_is_refused(tmp_path: Path, how: str, kind: str) -> None:
    path = tmp_path / "a.wav"
    put(path, TRUNCATED[how](written(path, kind=kind)))
    reason = find_problem(str(path), EXTENT, decode=False)
    assert reason is not None and any(word in reason for word in ("truncated", "damaged")), reason


def test_a_truncated_rf64_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    put(path, written(path, kind="RF64")[:9000])
    assert "is truncated (9000 of 16" in str(find_problem(str(path), EXTENT, decode=False))


def test_chunks_beside_the_samples_are_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    content = written(path)
    finished = read_wave(str(path), EXTENT)
    note = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"  # of odd length, and filled up
    at = content.index(b"fmt ")
    content = content[:at] + note + content[at:] + note
    content[4:8] = struct.pack("<I", len(content) - 8)
    assert np.array_equal(read_wave(put(path, content), EXTENT), finished) and read_shape(str(path)).frames == 8000


@pytest.mark.parametrize("name", ["pipe", "device", "folder"])
def test_what_is_no_file_is_named_without_being_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.wav"
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[name](path)
    assert find_problem(str(path), EXTENT, decode=True) == f"is a {name}, not a file"


@given(st.integers(0, 43), st.binary(min_size=1, max_size=24), st.integers(44, 3000))
@settings(max_examples=150)
def test_a_hostile_header_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, spoilt: bytes, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.wav"
    content = written(path)
    content[at : at + len(spoilt)] = spoilt
    put(path, content[:cut])
    try:
        assert len(read_wave(str(path), EXTENT)) <= EXTENT.size
    except Unusable as error:
        assert "\n" not in str(error)
