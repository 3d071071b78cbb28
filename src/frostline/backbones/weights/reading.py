"""Files of weights: nothing in them is executed, and none takes more memory than its size allows."""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from frostline.errors import UserError
from frostline.files.atomic import describe_irregular
from frostline.units import join_lines

KEY = "backbone.weights"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
RATIO = 20
"""How many times the size of its file weights may take in memory. torch.save does not compress: it is about 1."""
LEAST = 1 << 20  # bytes: smaller files may hold more than RATIO times their size
DEEP = 4  # dictionaries in dictionaries that are looked into
MOST = 1000  # dictionaries that are looked into

KeyPath = tuple[str, ...]
"""Where in a file a dictionary stands: the keys that lead to it."""


def read_file(path: str | Path) -> dict[KeyPath, dict[str, Any]]:
    """Return the dictionaries of a ``.safetensors``, ``.pth``, ``.pt``, ``.bin`` or ``.ckpt`` file that hold tensors.

    Nothing in it is executed. Raises UserError for a URL, what is no file,
    a damaged one, a pickle with code in it, one that would take many times its size, and one without named tensors.
    """
    if "://" in str(path):
        raise UserError(f"{KEY}: {path} is a URL; download it and give the file.")
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise UserError(f"{KEY}: {path} is not a weights file; give one that ends in {', '.join(SUFFIXES)}.")
    if odd := describe_irregular(path):
        raise UserError(f"{KEY}: {path} {odd}; give a weights file.")
    if not path.is_file():
        raise UserError(f"{KEY}: there is no file {path}; give an existing weights file.")
    content = read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    found = dict(_find_holders(content))
    if not found:
        raise UserError(f"{KEY}: {path} holds no named tensors; give a state dict.")
    _check_tensors(path, found)
    return found


def read_safetensors(path: Path, key: str = KEY) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. Raises UserError that names ``key`` for what is none, or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            of_a_run = "tree" in (file.metadata() or {})
        if not of_a_run:
            return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{key}: {path} is not a whole safetensors file ({error}); get it again.") from error
    raise UserError(
        f"{key}: {path} is a checkpoint of a run, which holds only what trained; give the model.safetensors that "
        "frostline export RUN --format safetensors writes."
    )


def _read_pickle(path: Path) -> object:
    _check_archive(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{KEY}: {path} is damaged or holds more than tensors{_describe_foreign(path)}, and nothing in it was "
            "executed; give a file of tensors only, best a .safetensors file."
        ) from error
    except Exception as error:  # a damaged file can make the unpickler raise nearly anything
        raise UserError(f"{KEY}: {path} is damaged ({type(error).__name__}); get it again.") from error


def _describe_foreign(path: Path) -> str:
    """Return what a pickle holds besides tensors, as far as that can be told without executing it."""
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of an older format, or damaged
        return ""
    return f" ({join_lines(sorted(found), 5)})" if found else ""


def _check_archive(path: Path) -> None:
    """Refuse what torch would inflate to many times its size, by the list of members alone.

    Whoever reads this list must find the same one as torch: it is at the very end, and nothing stands before the first
    member. Raises UserError.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return  # an older format, whose tensors are not compressed
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries, comment = archive.infolist(), archive.comment
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{KEY}: {path} is damaged ({error}); get it again.") from error
    if comment or min((entry.header_offset for entry in entries), default=1):
        raise UserError(f"{KEY}: {path} is no file that torch.save wrote; get it again.")
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise UserError(f"{KEY}: {path} is a TorchScript program; give its weights alone, as a state dict.")
    inflated, stored = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if inflated > RATIO * max(size, LEAST) or stored > size:
        raise _make_size_error(path, max(inflated, stored))


def _check_tensors(path: Path, found: Mapping[KeyPath, Mapping[str, Any]]) -> None:
    """Refuse tensors that are no plain numbers, or larger in all than the file allows, as views of one value can be."""
    tensors = [(key, one) for entries in found.values() for key, one in entries.items() if isinstance(one, Tensor)]
    odd = [key for key, one in tensors if one.layout != torch.strided or one.is_meta or one.is_quantized]
    if odd:
        raise UserError(
            f"{KEY}: {path} holds tensors that are sparse, quantised or without numbers: {join_lines(odd)}."
        )
    total = sum(one.numel() * one.element_size() for _, one in tensors)
    if total > RATIO * max(path.stat().st_size, LEAST):
        raise _make_size_error(path, total)


def _make_size_error(path: Path, total: int) -> UserError:
    return UserError(
        f"{KEY}: {path} would swell from {path.stat().st_size:,} to {total:,} bytes, which weights do not; it is not "
        "read: get the file again from where it was made."
    )


def _find_holders(content: object) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield the dictionaries that hold a tensor under a name, with where they stand, the outermost first."""
    waiting: list[tuple[KeyPath, object]] = [((), content)]
    seen: set[int] = set()
    while waiting and len(seen) < MOST:
        where, value = waiting.pop(0)
        if not isinstance(value, Mapping) or id(value) in seen or len(where) > DEEP:
            continue
        seen.add(id(value))
        entries = {key: inner for key, inner in value.items() if isinstance(key, str)}
        if any(isinstance(inner, Tensor) for inner in entries.values()):
            yield where, entries
        waiting += [((*where, key), inner) for key, inner in entries.items()]
