"""Where runs lie, and which run a config stands for."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frostline.files import sha256_file, sha256_json

FORMAT = 1
RECORD = "record.json"
RESOLVED = "resolved.yaml"
LOG = "log.txt"
FINAL = ("done", "diverged")
"""Statuses that the same command would only come to again; the others are worth another try."""

ENDED = (0, 2, 3)
"""Exit codes of a worker that left a record: of a run that is done, of a user's mistake, of any other end."""

WHERE_NOT_WHAT = (
    "outputs",
    "force",
    "debug",
    "compare",
    "launcher",
    "logger",
    "cache.max_gb",
    "cache.memory_gb",
    "data.workers",
    "data.memory_gb",
    "data.download",
    "trainer.enable_progress_bar",
)
"""Keys that say where and how fast a run goes, not what it computes; costs hang on ``cache.enabled``, so it stays."""

PLACES = ("data.root", "data.manifest")
FILES = ("backbone.weights",)
"""Keys whose value may be a path, of FILES to a file or else a name; what lies there counts, not the path."""


def run_id(config: dict[str, Any]) -> str:
    """Return the 12 hexadecimal digits that name the run of a resolved config: a hash of what matters in it."""
    return sha256_json({"format": FORMAT, **identity(config)})[:12]


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config without what does not matter, and with contents in the place of paths."""
    matters = copy.deepcopy(config)
    for key in WHERE_NOT_WHAT:
        _change(matters, key, lambda value: None)
    data = matters.get("data", {})
    if data.get("manifest") and data.get("root") is None:
        data["root"] = str(Path(data["manifest"]).parent)  # where the manifest's paths lead to
    for key in PLACES:
        _change(matters, key, _content)
    for key in FILES:
        _change(matters, key, lambda value: _content(value) if Path(str(value)).is_file() else value)
    if "name" in data:
        data["root"] = None  # a published data set is known by its name, wherever it was downloaded to
    return matters


def _change(config: dict[str, Any], key: str, function: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        config = config.get(part) or {}
    if last in config:
        config[last] = function(config[last])


def _content(value: Any) -> Any:
    """Return what identifies the files at a path: a file's SHA-256; a folder's names, sizes and times of change."""
    path = Path(str(value)).expanduser()
    if value is None or not path.exists():
        return value
    if path.is_file():
        return sha256_file(path)
    rows = []
    for file in sorted(path.rglob("*")):
        if file.is_file():
            status = file.stat()
            rows.append([file.relative_to(path).as_posix(), status.st_size, status.st_mtime_ns])
    return sha256_json(rows)


def run_folder(outputs: Path, identifier: str) -> Path:
    """Return the folder of a run."""
    return outputs / "runs" / identifier


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return a run's record, or None while it has none."""
    try:
        return json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None


def records(outputs: Path) -> Iterator[dict[str, Any]]:
    """Yield the record of every run under ``outputs``, one at a time."""
    for path in sorted((outputs / "runs").glob(f"*/{RECORD}")):
        yield json.loads(path.read_text())
