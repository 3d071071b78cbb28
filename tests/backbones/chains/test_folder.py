"""A folder of a network: nothing in it is executed, unpickled or fetched, and what is wrong with it is named."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests import configs
from tests.sequences import save_bert

from frostline.errors import UserError

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"


def fingerprint(folder: Path) -> str:
    """Return the fingerprint of the network that lies in a folder."""
    return configs.make("backbone/transformers", name=str(folder)).fingerprint()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("saved") / "bert")


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bert, tmp_path / "bert")


@pytest.fixture(autouse=True)
def no_pickle_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with a folder, torch.load is not called, and no socket opened."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something outside of the folder was used")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def said(folder: Path, weights: str = "pretrained") -> str:
    """Return the one sentence with which a folder is refused."""
    with pytest.raises(UserError, match=r"^backbone\.") as error:
        configs.make("backbone/transformers", name=str(folder), weights=weights)
    assert "\n" not in str(error.value)
    return str(error.value)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def shard(folder: Path, names: tuple[str, str] = ("one.safetensors", "two.safetensors")) -> dict[str, str]:
    """Split a folder's weights into two files with an index; return the index's map."""
    tensors = load_file(folder / WEIGHTS)
    half = len(tensors) // 2
    table: dict[str, str] = {}
    for name, keys in zip(names, (list(tensors)[:half], list(tensors)[half:]), strict=True):
        save_file({key: tensors[key] for key in keys}, folder / name)
        table |= dict.fromkeys(keys, name)
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": table}))
    return table


def test_weights_in_several_files_are_the_same_weights(bert: Path, folder: Path) -> None:
    shard(folder)
    assert fingerprint(folder) == fingerprint(bert)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "../outside.safetensors", "/etc/passwd", "x/../../y.safetensors", "a\\b.safetensors"]
)
def test_an_index_names_safetensors_beside_it_alone(folder: Path, name: str) -> None:
    table = shard(folder)
    shutil.copy(folder / "one.safetensors", folder.parent / "outside.safetensors")
    torch.save(load_file(folder / "one.safetensors"), folder / "pytorch_model.bin")
    (folder / INDEX).write_text(json.dumps({"weight_map": {key: name for key in table}}))
    assert f"{INDEX} names {name!r}" in said(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "no weight_map"),
        ('{"weight_map": {"x": 3}}', "no weight_map"),
        ('{"weight_map": {"x": "gone.safetensors"}}', "gone.safetensors, which is not there"),
    ],
)
def test_a_damaged_index_is_named(folder: Path, content: str, words: str) -> None:
    shard(folder)
    (folder / INDEX).write_text(content)
    assert INDEX in said(folder) and words in said(folder)


def test_a_tensor_that_two_files_hold_is_named(folder: Path) -> None:
    table = shard(folder)
    shutil.copy(folder / "one.safetensors", folder / "three.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {**table, "x": "three.safetensors"}}))
    assert "leads to two tensors" in said(folder)


def test_weights_that_are_no_numbers_are_refused_by_name(folder: Path) -> None:
    """Promise 44."""
    tensors = load_file(folder / WEIGHTS)
    name = "encoder.layer.1.output.dense.weight"
    tensors[name][0, 0] = torch.nan
    save_file(tensors, folder / WEIGHTS)
    assert f"NaN or infinite numbers stand in {name}" in said(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_a_folder_names_is_not_run(folder: Path, name: str) -> None:
    (folder / "own.py").write_text(f"open({str(folder / 'CANARY')!r}, 'w')\nclass Own: pass\n")
    edit(folder / name, auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own", "AutoTokenizer": ["own.Own", None]})
    assert f"{name} names code of its own (auto_map)" in said(folder)
    assert not (folder / "CANARY").exists()


@pytest.mark.parametrize("key", ["vocab_file", "tokenizer_file", "init_inputs", "fast_tokenizer_files"])
@pytest.mark.parametrize("place", ["../outside.4.0.0.json", "{root}/outside.4.0.0.json", "/dev/zero"])
def test_files_elsewhere_that_a_tokenizer_names_are_not_read(folder: Path, key: str, place: str) -> None:
    shutil.copy(folder / "tokenizer.json", folder.parent / "outside.4.0.0.json")
    text = place.format(root=folder.parent)
    edit(folder / "tokenizer_config.json", **{key: text if key.endswith("_file") else [text]})
    assert f"tokenizer_config.json names {text}" in said(folder)


def test_a_config_does_not_lead_to_another_network(bert: Path, folder: Path) -> None:
    """What else a folder may hold, for other programs, is not followed."""
    content = {"base_model_name_or_path": "somebody/else", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(content))
    edit(folder / "config.json", configuration_files=["config.4.0.0.json"], _name_or_path="somebody/else")
    edit(folder / "tokenizer_config.json", name_or_path="somebody/else", special_tokens_map_file="/gone/map.json")
    assert fingerprint(folder) == fingerprint(bert)


Damage = Callable[[Path], object]
DAMAGES: dict[str, tuple[str, Damage]] = {
    "half a tokenizer": ("tokenizer.json", lambda path: path.write_bytes(path.read_bytes()[:300])),
    "a tokenizer of another kind": ("tokenizer.json", lambda path: path.write_text('{"version": "1.0", "model": 3}')),
    "no tokens": ("tokenizer.json", lambda path: path.write_text('{"added_tokens": 3}')),
    "a list": ("tokenizer.json", lambda path: path.write_text("[]")),
    "no JSON at all": ("tokenizer.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
    "half a tokenizer's config": ("tokenizer_config.json", lambda path: path.write_text('{"a": ')),
    "a number as a tokenizer's config": ("tokenizer_config.json", lambda path: path.write_text("3")),
    "a class that is none": ("tokenizer", lambda path: edit(path.parent / "tokenizer_config.json", tokenizer_class=3)),
    "half a config": ("config.json", lambda path: path.write_text('{"a": ')),
    "a config without a type": ("bert", lambda path: path.write_text('{"hidden_size": 16}')),
    "a type that is none": ("bert", lambda path: edit(path, model_type=["bert"])),
    "a size that is none": ("bert", lambda path: edit(path, hidden_size="large")),
    "too deep": ("config.json", lambda path: path.write_text('{"a":' * 100_000)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_named(folder: Path, damage: str) -> None:
    name, make = DAMAGES[damage]
    make(folder / ("config.json" if name == "bert" else name))
    assert name in said(folder) and name in said(folder, "none")


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS, INDEX, "vocab.txt"]
)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_file_is_named_without_being_opened(folder: Path, name: str, kind: str) -> None:
    """Promise 34."""
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        import socket

        here = os.getcwd()
        os.chdir(folder)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(name)
        os.chdir(here)
    assert f"{path} is a {kind}, not a file" in said(folder)


def test_links_lead_nowhere_else_but_within_the_hubs_own_cache(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--x" / "snapshots" / "0"
    blobs = tmp_path / "models--x" / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(blobs / path.name)
    assert fingerprint(snapshot) == fingerprint(folder)
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(blobs / WEIGHTS)
    assert f"{folder / WEIGHTS} is a link out of the folder" in said(folder)
