"""WAV files whose writer could not know how long they would be: what a recorder leaves that writes into a pipe."""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MOST_CHUNKS = 1000  # before the samples; a header that has more is hostile
NEAR = 1 << 16  # such writers put the largest length there is, or that less the header's
LARGEST = (1 << 31, 1 << 32, 1 << 63, 1 << 64)


@dataclass(frozen=True)
class WaveHeader:
    """The lengths that stand in a file's header, in bytes, and where: ``size`` is that of the file.

    ``long`` is where the 64-bit lengths of an RF64 file stand, which count in place of the others.
    """

    size: int
    whole: int
    start: int
    data: int
    block: int
    long: int | None

    @property
    def streamed(self) -> bool:
        """Whether the samples go on to the end of the file, however long that is."""
        return is_unknown(self.data) and (self.data > 0 or is_unknown(self.whole))

    @property
    def promised(self) -> int:
        """How many bytes the file has by its header, as far as that knows."""
        samples = 0 if self.streamed else self.start + self.data
        return max(samples, 0 if is_unknown(self.whole) else self.whole)


def is_unknown(length: int) -> bool:
    """Return whether a length says that its writer did not know it."""
    return length == 0 or any(abs(length - largest) <= NEAR for largest in LARGEST)


def read_header(file: BinaryIO) -> WaveHeader | None:
    """Return what the header of a WAV file says; None for other files, and where there are no samples in it."""
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        return None
    (whole,) = struct.unpack("<I", start[4:8])
    block, long, data64 = 1, None, 0
    for name, at, length in _chunks(file, size):
        if name == b"fmt ":
            block = max(1, *struct.unpack("<H", file.read(14)[12:].ljust(2, b"\0")))
        if name == b"ds64" and start.startswith(b"RF64"):
            long = at
            whole, data64 = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
        if name == b"data":
            return WaveHeader(size, whole, at, length if long is None else data64, block, long)
    return None


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, place and length of the chunks, the file standing at each."""
    at = 12
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        name, length = struct.unpack("<4sI", head)
        yield name, at + 8, length
        at += 8 + length + length % 2
        if at >= size:
            return


def mend_header(file: BinaryIO, found: WaveHeader) -> mmap.mmap:
    """Return the content of an open file, its lengths those that it has; the file itself stays as it is."""
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    left = (found.size - found.start) // found.block * found.block
    if found.long is not None:
        content[found.long : found.long + 24] = struct.pack("<QQQ", found.size - 8, left, left // found.block)
    else:
        content[4:8] = struct.pack("<I", min(found.size - 8, 2**32 - 1))
        content[found.start - 4 : found.start] = struct.pack("<I", min(left, 2**32 - 1))
    return content
