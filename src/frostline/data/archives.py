"""Archives from the network, looked through before anything in them is written."""

import gzip
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from torchvision.datasets import utils as torchvision_utils

from frostline.errors import UserError

RATIO = 200
CHUNK = 1 << 20


def check_archive(path: Path) -> None:
    """Refuse a tar, zip or gzip file whose members leave the folder, are links or devices, or swell over 200 times.

    Raises UserError naming the file and the member.
    """
    total = 0
    for name, size, plain in _members(path):
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            raise UserError(f"{path}: its member {name!r} would be written outside the folder; it is refused.")
        if not plain:
            raise UserError(f"{path}: its member {name!r} is a link or a device; it is refused.")
        total += size
        if total > RATIO * max(path.stat().st_size, CHUNK // 16):
            raise UserError(f"{path}: it swells to more than {RATIO} times its size; it is refused.")


def _members(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Yield (name, size in bytes, is it a plain file or folder) of each member, its kind told by its name.

    torchvision goes by the name as well; the content can deceive (zeros are an empty tar).
    """
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                kind = entry.external_attr >> 28
                yield entry.filename, entry.file_size, kind in (0, 4, 8)
    elif ".tar" in path.suffixes or path.suffix in (".tgz", ".tbz", ".tbz2"):
        with tarfile.open(path) as archive:
            for member in archive:
                yield member.name, member.size, member.isfile() or member.isdir()
    else:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK):
                yield path.stem, len(chunk), True


@contextmanager
def guarding_extraction() -> Iterator[None]:
    """Have torchvision's data sets look through an archive before they extract it; torchvision itself does not."""
    original = torchvision_utils.extract_archive

    def extract_checked(from_path: Any, *arguments: Any, **keywords: Any) -> Any:
        check_archive(Path(from_path))
        return original(from_path, *arguments, **keywords)

    torchvision_utils.extract_archive = extract_checked
    try:
        yield
    finally:
        torchvision_utils.extract_archive = original
