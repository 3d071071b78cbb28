"""Loggers write where a run writes: into its folder, its output folder, or to a server."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from frostline.config.secrets import REFERENCE
from frostline.config.signature import make_key_error
from frostline.errors import UserError

PLACES = ("save_dir", "dir", "log_dir", "root_dir", "artifact_location")
"""Arguments that are the run's to give."""
NAMES = ("name", "version", "sub_dir")
"""Arguments that become folders in the run's."""
LOGGERS: dict[str, tuple[str, ...]] = {
    "CSVLogger": ("name", "version", "prefix", "flush_logs_every_n_steps"),
    "TensorBoardLogger": (
        *("name", "version", "sub_dir", "prefix", "log_graph", "default_hp_metric"),
        *("max_queue", "flush_secs", "purge_step"),
    ),
    "MLFlowLogger": (
        *("experiment_name", "run_name", "tracking_uri", "tags", "prefix", "run_id", "synchronous", "log_model"),
    ),
    "WandbLogger": (
        *("name", "project", "entity", "group", "job_type", "tags", "notes", "mode", "offline", "anonymous"),
        *("prefix", "settings", "log_model"),
    ),
    "CometLogger": ("api_key", "workspace", "project", "experiment_key", "mode", "online", "prefix", "name", "tags"),
}
"""The keys that a logger's node may have; what a class hands on to its service by ** could name any file or program."""
SETTINGS = (
    *("silent", "quiet", "console", "disable_git", "disable_code", "save_code", "base_url", "init_timeout"),
    *("x_disable_meta", "x_disable_stats", "x_stats_sampling_interval"),
)
"""Of settings of W&B's those that name no file and no program."""
SERVERS = re.compile(r"(https?|databricks|postgresql|mysql|mssql)(\+\w+)?(://.*)?")


def check_loggers(node: Mapping[str, Any], outputs: Path) -> None:
    """Refuse a node `logger` that would write elsewhere. Raises UserError that names the key."""
    for where, one in _iterate_loggers(node):
        kind = str(one["_target_"]).rpartition(".")[2]
        if kind not in LOGGERS or not str(one["_target_"]).startswith("pytorch_lightning."):
            continue  # of a module given with --allow
        _check_keys(one, kind, where)
        for name in NAMES:
            if kind in ("CSVLogger", "TensorBoardLogger") and not stays_below(one.get(name)):
                raise UserError(f"{where}.{name}: {one[name]!r} leads out of the run's folder; give a name.")
        address = one.get("tracking_uri")
        if address is not None and not (SERVERS.fullmatch(str(address)) or _lies_below(str(address), outputs)):
            raise UserError(
                f"{where}.tracking_uri: it is neither a server's address nor a database in {outputs}; give one of "
                "them, null, or set MLFLOW_TRACKING_URI in the shell."
            )


def _iterate_loggers(node: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "_target_" in node:
        yield "logger", node
    else:
        for name, one in node.items():
            if isinstance(one, Mapping) and "_target_" in one:
                yield f"logger.{name}", one


def _check_keys(node: Mapping[str, Any], kind: str, where: str) -> None:
    for key in node:
        if key in PLACES:
            raise UserError(f"{where}.{key}: a logger writes into the run's folder; leave it out, or set outputs.")
        if key != "_target_" and key not in LOGGERS[kind]:
            raise make_key_error(f"{where}.{key}", LOGGERS[kind])
    settings = node.get("settings") if kind == "WandbLogger" else None
    for key in settings if isinstance(settings, Mapping) else ():
        if key not in SETTINGS:
            raise make_key_error(f"{where}.settings.{key}", SETTINGS)


def stays_below(name: object) -> bool:
    """Return whether a name, which may have folders in it, stays below the folder that it is put in."""
    path = PurePosixPath(str(name or ""))
    return not path.is_absolute() and ".." not in path.parts and "\0" not in str(path) and "\\" not in str(path)


def _lies_below(address: str, folder: Path) -> bool:
    """Return whether an address is a SQLite file in a folder; one with a reference is checked in the worker."""
    if REFERENCE.search(address):
        return True
    path = address.removeprefix("sqlite:///")
    return path != address and Path(path).resolve().is_relative_to(folder.resolve())
