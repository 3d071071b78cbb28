"""Where runs lie, and which run a config stands for."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frostline.files import sha256_file, sha256_json
from frostline.secrets import resolve_env

FORMAT = 4
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
    "group",
    "label",
    "judged",
    "compare",
    "launcher",
    "logger",
    "cache.max_gb",
    "cache.memory_gb",
    "data.workers",
    "data.memory_gb",
    "data.download",
    "data.token_cache",
    "trainer.enable_progress_bar",
)
"""Keys that say where and how fast a run goes, not what it computes; costs hang on ``cache.enabled``, so it stays."""

PLACES = ("data.root", "data.manifest", "data.file", "data.path")
FILES = ("backbone.weights", "backbone.name")
"""Keys whose value may be a path, of FILES to a file, or to a network's folder, or else a name; what lies there counts,
not the path."""


def run_id(config: dict[str, Any]) -> str:
    """Return the 12 hexadecimal digits that name the run of a resolved config: a hash of what matters in it."""
    return sha256_json({"format": FORMAT, **identity(config)})[:12]


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config without what does not matter, and with contents in the place of paths."""
    matters = resolve_env(config, secrets=False)  # what a password is decides nothing
    for key in WHERE_NOT_WHAT:
        _change(matters, key, lambda value: None)
    data = matters.get("data", {})
    if data.get("manifest") and data.get("root") is None:
        data["root"] = str(Path(data["manifest"]).parent)  # where the manifest's paths lead to
    for key in PLACES:
        _change(matters, key, _content)
    for key in FILES:
        _change(matters, key, lambda value: _content(value) if _holds_weights(Path(str(value)).expanduser()) else value)
    if "name" in data:
        data["root"] = None  # a published data set is known by its name, wherever it was downloaded to
    return matters


def _change(config: dict[str, Any], key: str, function: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        config = config.get(part) or {}
    if last in config:
        config[last] = function(config[last])


def _holds_weights(path: Path) -> bool:
    """Tell a file, or a folder that transformers saved, from the name of a network."""
    return path.is_file() or (path / "config.json").is_file()


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


def listed(outputs: Path) -> Iterator[tuple[str, float, dict[str, Any] | Exception | None]]:
    """Yield each run's folder name, the time its record was written, and the record, the newest first.

    In the record's place stands None while there is none (the time is then the folder's), and what went wrong where
    it cannot be read. A record is read when it is asked for and held no longer: all of 10,000 took 0.8 s, where an
    index beside them would have to be kept right.
    """
    with os.scandir(outputs / "runs") as folders:
        found = sorted(((_written(folder), folder.path) for folder in folders if folder.is_dir()), reverse=True)
    for written, path in found:
        name = os.path.basename(path)
        try:
            with open(f"{path}/{RECORD}", "rb") as file:
                yield name, written, json.loads(file.read().decode())
        except FileNotFoundError:
            yield name, written, None
        except (OSError, ValueError, RecursionError) as error:
            yield name, written, error


def _written(folder: os.DirEntry[str]) -> float:
    try:
        return os.stat(f"{folder.path}/{RECORD}").st_mtime
    except OSError:
        return folder.stat().st_mtime
