"""A folder of a network that transformers saved: looked through before anything in it is used."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from frostline.backbones.weights.reading import read_safetensors
from frostline.errors import UserError, read_first_line
from frostline.files.atomic import describe_irregular, read_json

KEY = "backbone.name"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
# What transformers reads of a folder, weights apart.
SETTINGS = (
    CONFIG,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "processor_config.json",
)


def check_folder(folder: Path) -> None:
    """Refuse a folder in which something is no file, lies elsewhere, is damaged, or names code or files elsewhere.

    Raises UserError that names the file.
    """
    inside = folder.resolve()
    for path in sorted((*folder.iterdir(), *folder.glob("*/*"))):
        if not path.is_dir() and (odd := describe_irregular(path)):
            raise UserError(f"{KEY}: {path} {odd}; remove it from the folder.")
        if path.is_symlink() and not _belongs(path.resolve(), inside):
            raise UserError(f"{KEY}: {path} is a link out of the folder; put the file itself there.")
    for name in SETTINGS:
        if (folder / name).exists():
            check_settings(folder / name)


def _belongs(path: Path, folder: Path) -> bool:
    """Return whether a path is in a folder; of a snapshot in the hub's own cache the files are links to its blobs."""
    blobs = folder.parent.parent / "blobs" if folder.parent.name == "snapshots" else folder
    return path.is_relative_to(folder) or path.is_relative_to(blobs)


def check_settings(path: Path) -> None:
    """Refuse settings that name code, which would not be run, or files elsewhere. Raises UserError."""
    found = read_object(path)
    if "auto_map" in found:
        raise UserError(f"{KEY}: {path} names code of its own (auto_map), and none is run; choose another network.")
    for text in iterate_texts(found):
        if "/" in text and _leads_out(text, path.parent):
            raise UserError(f"{KEY}: {path} names {text}, which is outside the folder; take that out of it.")


def _leads_out(text: str, folder: Path) -> bool:
    """Return whether a text is the path of something that is there, outside of the folder, and no folder."""
    try:
        found = [place for place in (folder / text, Path(text)) if place.exists() and not place.is_dir()]
    except (OSError, ValueError):  # longer than a name can be; a NUL byte
        return False
    return any(not place.resolve().is_relative_to(folder.resolve()) for place in found)


def iterate_texts(value: Any) -> Iterator[str]:
    """Yield every text in plain values, but for keys."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one


def read_object(path: Path) -> dict[str, Any]:
    """Return what a file of JSON holds. Raises UserError for what is no object, or damaged."""
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{KEY}: {path} is damaged ({read_first_line(error)}); get it again.") from error
    if not isinstance(found, dict):
        raise UserError(f"{KEY}: {path} is damaged: it holds no object of JSON; get it again.")
    return found


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder, from one file of safetensors or from those that its index names.

    Raises UserError where there are none, for what an index names besides safetensors in the folder, and for damage.
    """
    if (folder / WEIGHTS).exists():
        return read_safetensors(folder / WEIGHTS, KEY)
    if not (folder / INDEX).exists():
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        if pickles:
            raise UserError(
                f"{KEY}: {folder} holds its weights as {', '.join(pickles)}, which can run code when it is read; save "
                f"them as {WEIGHTS}."
            )
        raise UserError(f"{KEY}: {folder} holds no {WEIGHTS} and no {INDEX}; save the weights there.")
    shards = [read_safetensors(folder / name, KEY) for name in read_index(folder / INDEX, folder)]
    twice = [name for name, count in Counter(name for shard in shards for name in shard).items() if count > 1]
    if twice:
        raise UserError(f"{KEY}: {folder / INDEX} leads to two tensors {twice[0]}; get the files again.")
    return {name: tensor for shard in shards for name, tensor in shard.items()}


def read_index(index: Path, folder: Path | None = None) -> list[str]:
    """Return the files that an index of weights names. Raises UserError unless all are safetensors, in ``folder``."""
    table = read_object(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise UserError(f"{KEY}: {index} is damaged: it has no weight_map; get it again.")
    names = sorted(set(table.values()))
    for name in names:
        if not name.endswith(".safetensors") or "/" in name or "\\" in name:
            raise UserError(f"{KEY}: {index} names {name!r}; it may only name files of safetensors beside it.")
        if folder is not None and not (folder / name).is_file():
            raise UserError(f"{KEY}: {index} names {name}, which is not there; get all files of the network.")
    return names
