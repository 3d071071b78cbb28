"""Checkpoints: what trains and where the run stands, written so that a kill or a full disk loses nothing."""

import json
import logging
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from frostline.errors import UserError
from frostline.files.atomic import read_json, sha256_file, write_atomic, write_json
from frostline.files.shapes import check_shape

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
PAUSE = "pause.safetensors"
GENERATIONS = 2
ROW = {"file": str, "sha256": str, "bytes?": int}
SHAPE = {"saved": [{**ROW, "epoch": int, "best": bool}], "pause?": ROW}
"""What a manifest says; another's may say anything."""
PLAIN = str | int | float | bool | None
DAMAGE = (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError, IndexError)


class Checkpoints:
    """The checkpoints of one run: the last two and the best, safetensors files under a manifest of SHA-256 sums.

    The manifest is replaced last and a file is deleted only after the manifest has ceased to name it, so at
    every moment the manifest names whole files.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def save(self, epoch: int, state: dict[str, Any], best: bool) -> None:
        """Write the state after ``epoch``; ``best`` makes it the one that is tested.

        Raises OSError, with the file named, when the disk is full or not writable; what was there stays.
        """
        path = self.folder / f"epoch-{epoch:05d}.safetensors"
        try:
            write_atomic(path, encode(state))
            saved = [row for row in self._list_saved() if row["epoch"] != epoch]
            if best:
                saved = [{**row, "best": False} for row in saved]
            saved.append({"epoch": epoch, **describe_file(path), "best": best})
            recent = sorted(saved, key=lambda row: row["epoch"])[-GENERATIONS:]
            kept = [row for row in saved if row in recent or row["best"]]
            write_json(self.folder / MANIFEST, {"saved": kept})
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror} while writing a checkpoint", str(path)) from error
        self._drop_unnamed({row["file"] for row in kept})

    def save_pause(self, state: dict[str, Any]) -> None:
        """Write the state inside the epoch after the newest; the next ``save`` takes its place. Raises OSError."""
        path = self.folder / PAUSE
        write_atomic(path, encode(state))
        write_json(self.folder / MANIFEST, {"saved": self._list_saved(), "pause": describe_file(path)})

    def load_pause(self) -> dict[str, Any] | None:
        """Return the state inside an epoch in which the run was stopped last, or None."""
        row = self._read_manifest().get("pause")
        return None if row is None else self._load(row)

    def load_latest(self) -> dict[str, Any] | None:
        """Return the newest sound state, or None; a damaged one is said and passed over."""
        for row in sorted(self._list_saved(), key=lambda row: -row["epoch"]):
            if (state := self._load(row)) is not None:
                return state
        return None

    def load_best(self) -> dict[str, Any] | None:
        """Return the best sound state, or None."""
        for row in self._list_saved():
            if row["best"]:
                return self._load(row)
        return None

    def count_best_bytes(self) -> int:
        """Return how large the best checkpoint is on disk, or 0 where there is none."""
        return sum((self.folder / row["file"]).stat().st_size for row in self._list_saved() if row["best"])

    def clear(self) -> None:
        """Remove every checkpoint."""
        (self.folder / MANIFEST).unlink(missing_ok=True)
        self._drop_unnamed(set())

    def _load(self, row: dict[str, Any]) -> dict[str, Any] | None:
        path = self.folder / row["file"]
        try:
            inside = Path(row["file"]).name == row["file"]
            if inside and path.stat().st_size == row.get("bytes", path.stat().st_size):
                if sha256_file(path) == row["sha256"]:
                    return decode(path)
        except OSError:  # it is gone, or no file
            pass
        log.warning("The checkpoint %s is damaged or missing; falling back to the one before.", path)
        return None

    def _list_saved(self) -> list[dict[str, Any]]:
        return self._read_manifest()["saved"]

    def _read_manifest(self) -> dict[str, Any]:
        path = self.folder / MANIFEST
        try:
            found = read_json(path)
            check_shape(found, SHAPE, "")
            return found
        except FileNotFoundError:
            return {"saved": []}
        except NotADirectoryError:  # an accident of the folder's, and no damage of a manifest
            raise
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is damaged ({error}); start the run anew with force=true.") from error

    def _drop_unnamed(self, named: set[str]) -> None:
        """Delete checkpoints that the manifest no longer names, and what a kill in the middle of a write left."""
        for path in (*self.folder.glob("*.safetensors"), *self.folder.glob(".*.tmp")):
            if path.name not in named:
                path.unlink(missing_ok=True)


def describe_file(path: Path) -> dict[str, Any]:
    """Return what a manifest says of a file: its name, its SHA-256 and, so that no giant need be read, its size."""
    return {"file": path.name, "sha256": sha256_file(path), "bytes": path.stat().st_size}


def encode(state: dict[str, Any]) -> bytes:
    """Return nested dicts and lists of tensors and plain values as one safetensors file; no pickle is involved."""
    tensors: dict[str, Tensor] = {}
    tree = _pack(state, tensors)
    return save(tensors, {"tree": json.dumps(tree)})


def decode(path: Path) -> dict[str, Any]:
    """Read what ``encode`` wrote. Raises UserError for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            tree = json.loads((file.metadata() or {})["tree"])
            found = _unpack(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
            return {**found}
    except DAMAGE as error:
        raise UserError(
            f"{path} is not a Frostline checkpoint ({error}); give one from a run's checkpoints folder."
        ) from error


def is_savable(value: Any) -> bool:
    """Return whether ``encode`` can save a value."""
    if isinstance(value, dict):
        return all(isinstance(key, PLAIN) and is_savable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_savable, value))
    return isinstance(value, Tensor | PLAIN)


def _pack(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Return ``value`` as JSON, its tensors replaced by names, numbered since keys alone would not tell 1 from "1"."""
    if isinstance(value, Tensor):
        name = f"{len(tensors)}{path}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, tensors, f"{path}/{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(item, tensors, f"{path}/{place}") for place, item in enumerate(value)]
    assert isinstance(value, PLAIN), f"{type(value)} cannot be saved"
    return value


def _unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    return {key: _unpack(item, tensors) for key, item in tree["dict"]}
