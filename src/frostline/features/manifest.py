"""The manifest of a cache entry, checked once where it is read: a cache may be a stranger's."""

from pathlib import Path
from typing import Any

from frostline.files.atomic import read_json, sha256_json
from frostline.files.shapes import check_shape

SHAPE = {
    "sum": str,
    "bytes": int,
    "about": {"backbone": str, "cut": str, "split": str, "view": int, "samples": int},
    "parts": [{"file": str, "bytes": int, "sha256": str, "samples": int}],
}


def read_manifest(path: Path) -> dict[str, Any]:
    """Return what a manifest says, without its sum.

    Raises OSError, and ValueError for another sum, a field that is not as it should be, and a part that lies elsewhere.
    """
    manifest = read_json(path)
    check_shape(manifest, SHAPE, "")
    if manifest.pop("sum") != sha256_json(manifest):
        raise ValueError("its sum is not that of what it says")
    for part in manifest["parts"]:
        if part["file"] != Path(part["file"]).name:
            raise ValueError(f"{part['file']!r} is no file beside it")
    return manifest
