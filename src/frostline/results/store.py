"""Where runs lie, and which run a config stands for."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frostline.config.allow import is_below, iterate_nodes, list_allowed_modules
from frostline.config.schema import Run
from frostline.config.secrets import resolve_env
from frostline.data.content import (
    PLACES,
    hash_data,
    hash_files,
    is_published,
    list_all_files,
    list_code_files,
    list_recordings,
)
from frostline.errors import UserError
from frostline.files.atomic import sha256_json
from frostline.results.loading import load_record, load_whole_record

FORMAT = 7
ID = re.compile("[0-9a-f]{12}")
FOLDER = re.compile(r"\w[\w.-]*")
RECORD = "record.json"
RESOLVED = "resolved.yaml"
LOG = "log.txt"
FINAL = ("done", "diverged")
"""Statuses that the same command would only come to again; the others are worth another try."""

DECIDED = ("pruned", "paused")
"""Statuses of runs that somebody has told to end after an epoch; they are whole as far as they have come."""

ENDED = (0, 2, 3)
"""Exit codes of a worker that left a record: of a run that is done, of a user's mistake, of any other end."""

UNRECORDED = 4
"""The exit code of a worker whose record the disk did not take."""

WHERE_NOT_WHAT = (
    "outputs",
    "force",
    "debug",
    "group",
    "label",
    "judged",
    "launcher",
    "logger",
    "cache.max_gb",
    "cache.memory_gb",
    "data.workers",
    "data.timeout_s",
    "data.memory_gb",
    "data.download",
    "data.token_cache",
    "trainer.enable_progress_bar",
)
"""Keys that say where and how fast a run goes, not what it computes; costs depend on ``cache.enabled``, so it stays."""

WEIGHTS = ("backbone.weights", "backbone.name")
"""Keys whose value may be a path, to a file or to a network's folder, or else a name; what lies there counts, not the
path."""


def choose_folder_name(key: str, given: str | None, otherwise: str) -> str:
    """Return the name that the config's ``key`` gives, of None another one. Raises UserError for no folder's name."""
    if given is None:
        return otherwise
    if not FOLDER.fullmatch(given):
        raise UserError(f"{key}: {given!r} is no folder's name; use letters, digits, '.', '-' and '_'.")
    return given


def run_id(config: Run) -> str:
    """Return the 12 hexadecimal digits that name the run of a resolved config: a hash of what matters in it."""
    return sha256_json({"format": FORMAT, **make_identity(config)})[:12]


def check_unchanged(config: Run, folder: Path) -> None:
    """Refuse data, weights or code that changed while the run waited to be started: its ID speaks of what they were.

    Raises UserError.
    """
    if ID.fullmatch(folder.name) and (now := run_id(config)) != folder.name:
        raise UserError(
            f"{folder.name}: the files of its data, weights or code have changed since this run was submitted (its ID "
            f"would be {now} now); give the command again."
        )


def make_identity(config: Run) -> dict[str, Any]:
    """Return the config without what does not matter, and with contents in the place of paths.

    Contents are those of the files that readers read (`frostline.data.content`), and of the source of modules that a
    target named with --allow stands in.
    """
    outputs = Path(config.outputs)
    matters = resolve_env(config.plain(), secrets=False)  # what a password is decides nothing
    for key in WHERE_NOT_WHAT:
        _change(matters, key, lambda value: None)
    if matters["stop_after"] is None:  # it says nothing, and runs from before there was the key keep their ID
        del matters["stop_after"]
    data = matters["data"]
    content = hash_data(data, outputs)
    if content is not None:
        data |= {**{key: None for key in PLACES if key in data}, "content": content}
    elif is_published(data):
        data["root"] = None
    for key in WEIGHTS:
        _change(matters, key, lambda value: _weights_content(value, outputs))
    _change(matters, "adapter.source", lambda value: _source_content(value, outputs))
    if own := sorted(
        {
            target
            for target in _targets(config.plain())
            if any(is_below(target, root) for root in list_allowed_modules())
        }
    ):
        matters["code"] = hash_files(list_code_files(own), outputs, "code")
    return matters


def _change(config: dict[str, Any], key: str, function: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        config = config.get(part) or {}
    if last in config:
        config[last] = function(config[last])


def _targets(config: dict[str, Any]) -> list[str]:
    """Return every target that a config names."""
    return [str(node["_target_"]) for _, node in iterate_nodes(config) if "_target_" in node]


def _weights_content(value: Any, outputs: Path) -> Any:
    """Return what stands for the file, or the folder that transformers saved, at a path; a network's name as it is."""
    path = Path(str(value)).expanduser()
    there = path.is_file() or (path / "config.json").is_file()
    return hash_files(list_all_files(str(path), "weights"), outputs, str(path)) if there else value


def _source_content(value: Any, outputs: Path) -> Any:
    """Return what stands for the recordings in a folder; the path, where the adapter has something to say of it."""
    try:
        return value and hash_files(list_recordings(value), outputs, value)
    except (UserError, OSError):
        return value


def run_folder(outputs: Path, identifier: str) -> Path:
    """Return the folder of a run."""
    return outputs / "runs" / identifier


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return a run's record, or None while it has none. Raises UserError that names a damaged one's file and field."""
    try:
        return load_whole_record(folder / RECORD)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / RECORD}: this is no record of a run ({error}); remove it and run it again."
        ) from error


def read_sound_record(folder: Path) -> dict[str, Any] | None:
    """Return a run's record, or None while it has none and where it is damaged."""
    try:
        return read_record(folder)
    except UserError:
        return None


def list_records(outputs: Path) -> Iterator[tuple[str, float, dict[str, Any] | Exception | None]]:
    """Yield each run's folder name, the time at which its record was written, and the record, the newest first.

    The record is None while there is none (the time is then the folder's), and an exception where it cannot be read.
    Each record is read when it is asked for, and not kept: 10,000 of them take 0.8 s, so there is no index beside
    them that could be wrong.
    """
    with os.scandir(outputs / "runs") as folders:
        found = sorted(((_read_write_time(folder), folder.path) for folder in folders if folder.is_dir()), reverse=True)
    for written, path in found:
        name = os.path.basename(path)
        try:
            yield name, written, load_record(Path(path, RECORD))
        except FileNotFoundError:
            yield name, written, None
        except (OSError, ValueError) as error:
            yield name, written, error


def _read_write_time(folder: os.DirEntry[str]) -> float:
    for path in (f"{folder.path}/{RECORD}", folder.path):
        try:
            return os.stat(path).st_mtime
        except OSError:  # it may go meanwhile
            pass
    return 0.0
