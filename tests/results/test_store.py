"""Which run a config stands for: what matters changes the ID, where and how fast it goes does not."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frostline.results.store import read_record, run_folder, run_id

Config = dict[str, Any]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


@pytest.fixture
def config(photos: Path) -> Config:
    return {
        "seed": 0,
        "epochs": 10,
        "outputs": "outputs",
        "force": False,
        "debug": False,
        "monitor": "accuracy",
        "cache": {"enabled": True, "max_gb": 20.0, "memory_gb": 1.0},
        "data": {"_target_": "frostline.data.image.ImageFolder", "root": str(photos), "size": 48, "workers": 0},
        "backbone": {"_target_": "frostline.backbones.image.timm_backbone", "name": "resnet18", "weights": "none"},
        "freeze": {"_target_": "frostline.freeze.strategies.last_k", "k": 1},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001},
        "trainer": {"_target_": "pytorch_lightning.Trainer", "precision": "32-true", "enable_progress_bar": True},
        "logger": {},
        "launcher": {"workers": 2, "timeout_s": None, "threads": None},
    }


def changed(config: Config, key: str, value: Any) -> Config:
    """The config with another value at the dotted key."""
    other = copy.deepcopy(config)
    node = other
    *path, last = key.split(".")
    for part in path:
        node = node[part]
    node[last] = value
    return other


def test_an_id_is_stable(config: Config) -> None:
    first = run_id(config)
    assert len(first) == 12 and int(first, 16) >= 0
    before = copy.deepcopy(config)
    assert run_id(config) == first and config == before, "asking changes nothing"
    shuffled = {key: config[key] for key in sorted(config, reverse=True)}
    assert run_id(json.loads(json.dumps(shuffled))) == first


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outputs", "elsewhere"),
        ("force", True),
        ("debug", True),
        ("launcher", {"workers": 7, "timeout_s": 3, "threads": 1}),
        ("logger", {"_target_": "pytorch_lightning.loggers.CSVLogger"}),
        ("trainer.enable_progress_bar", False),
        ("cache.max_gb", 1.0),
        ("cache.memory_gb", 0.0),
        ("data.workers", 4),
    ],
)
def test_where_and_how_fast_does_not_matter(config: Config, key: str, value: Any) -> None:
    assert run_id(changed(config, key, value)) == run_id(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("epochs", 11),
        ("monitor", "loss"),
        ("optimizer.lr", 0.002),
        ("cache.enabled", False),
        ("freeze.k", 2),
        ("data.size", 64),
        ("backbone.weights", "pretrained"),
        ("backbone.name", "resnet34"),
        ("trainer.precision", "bf16-mixed"),
    ],
)
def test_what_is_computed_matters(config: Config, key: str, value: Any) -> None:
    assert run_id(changed(config, key, value)) != run_id(config)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "cat/0.png").write_bytes(b"another"),
    "name": lambda root: (root / "cat/0.png").rename(root / "cat/2.png"),
    "added": lambda root: (root / "dog/1.png").write_bytes(b"new"),
    "gone": lambda root: (root / "dog/0.png").unlink(),
    "class": lambda root: (root / "dog").rename(root / "wolf"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_files_make_another_run(config: Config, photos: Path, change: Callable[[Path], object]) -> None:
    first = run_id(config)
    change(photos)
    assert run_id(config) != first


def test_a_moved_folder_is_the_same_data(config: Config, photos: Path, tmp_path: Path) -> None:
    first = run_id(config)
    copied = shutil.copytree(photos, tmp_path / "copied")
    assert run_id(changed(config, "data.root", str(copied))) == first
    moved = photos.rename(tmp_path / "moved")
    assert run_id(changed(config, "data.root", str(moved))) == first
    assert run_id(changed(config, "data.root", str(tmp_path / "missing"))) != first


def test_weights_from_a_file_are_known_by_their_content(config: Config, tmp_path: Path) -> None:
    one, other, third = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors"))
    one.write_bytes(b"weights")
    other.write_bytes(b"weights")
    third.write_bytes(b"others")
    ids = [run_id(changed(config, "backbone.weights", str(path))) for path in (one, other, third)]
    assert ids[0] == ids[1] != ids[2] and run_id(config) not in ids


def test_a_folder_that_happens_to_be_called_pretrained_does_not_matter(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = changed(config, "backbone.weights", "pretrained")
    first = run_id(wanted)
    (tmp_path / "pretrained").mkdir()
    assert run_id(wanted) == first


def test_a_published_set_is_known_by_its_name(config: Config, photos: Path, tmp_path: Path) -> None:
    named = changed(changed(config, "data.name", "CIFAR10"), "data._target_", "frostline.data.published.Images")
    assert run_id(named) == run_id(changed(named, "data.root", str(tmp_path / "elsewhere")))
    assert run_id(named) != run_id(changed(named, "data.name", "CIFAR100"))


def test_a_runs_folder_is_named_by_its_id(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "aaa")
    assert folder == tmp_path / "runs" / "aaa"
    assert read_record(folder) is None
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"id": "aaa"}))
    assert read_record(folder) == {"id": "aaa"}


def test_what_a_file_of_texts_or_a_folder_of_weights_holds_decides(tmp_path: Path) -> None:
    texts, folder = tmp_path / "texts.csv", tmp_path / "network"
    texts.write_text("text,label\na,b\n")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    config = {"data": {"file": str(texts), "token_cache": "here"}, "backbone": {"name": str(folder)}}
    first = run_id(config)
    assert run_id({**config, "data": {**config["data"], "token_cache": None}}) == first
    copied = tmp_path / "copied.csv"
    copied.write_bytes(texts.read_bytes())
    assert run_id({**config, "data": {**config["data"], "file": str(copied)}}) == first
    copied.write_text("text,label\na,c\n")
    assert run_id({**config, "data": {**config["data"], "file": str(copied)}}) != first
    (folder / "model.safetensors").write_bytes(b"weights")
    assert run_id(config) != first
