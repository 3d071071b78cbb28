"""Which run a config stands for: what matters changes the ID, where and how fast it goes does not."""

import copy
import json
import os
import shutil
import sys
import time
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.configs import plain_run

from frostline.config.schema import Run
from frostline.data.content import list_data_files
from frostline.data.folders import read_folder
from frostline.results.store import ID, read_record, run_folder, run_id

FOLDER = "frostline.data.image.datasets.ImageFolder"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


@pytest.fixture
def config(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)  # where data are remembered below outputs=elsewhere
    return plain_run(
        outputs=str(tmp_path / "outputs"),
        monitor="accuracy",
        data={"_target_": FOLDER, "root": str(photos), "size": 48, "workers": 0},
        backbone={
            "_target_": "frostline.backbones.traced.builders.timm_backbone",
            "name": "resnet18",
            "weights": "none",
        },
        freeze={"_target_": "frostline.freeze.strategies.last_k", "k": 1},
        optimizer={"_target_": "torch.optim.AdamW", "lr": 0.001},
        trainer={"_target_": "pytorch_lightning.Trainer", "precision": "32-true", "enable_progress_bar": True},
        launcher={"workers": 2, "timeout_s": None, "threads": None},
    )


def changed(config: Run, key: str, value: Any) -> Run:
    """The config with another value at the dotted key."""
    other = node = config.plain()
    *path, last = key.split(".")
    for part in path:
        node = node[part]
    node[last] = value
    return Run.read(other)


def shuffled(value: Any) -> Any:
    """Plain containers with their keys in another order."""
    return {key: shuffled(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


def test_an_id_is_stable(config: Run) -> None:
    first = run_id(config)
    assert len(first) == 12 and int(first, 16) >= 0
    before = copy.deepcopy(config)
    assert run_id(config) == first and config == before, "asking changes nothing"
    assert run_id(Run.read(shuffled(json.loads(json.dumps(config.plain()))))) == first


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
def test_where_and_how_fast_does_not_matter(config: Run, key: str, value: Any) -> None:
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
def test_what_is_computed_matters(config: Run, key: str, value: Any) -> None:
    assert run_id(changed(config, key, value)) != run_id(config)


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "cat/0.png").write_bytes(b"another"),
    "name": lambda root: (root / "cat/0.png").rename(root / "cat/2.png"),
    "added": lambda root: (root / "dog/1.png").write_bytes(b"new"),
    "gone": lambda root: (root / "dog/0.png").unlink(),
    "class": lambda root: (root / "dog").rename(root / "wolf"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_files_make_another_run(config: Run, photos: Path, change: Callable[[Path], object]) -> None:
    first = run_id(config)
    change(photos)
    assert run_id(config) != first


def test_a_moved_folder_is_the_same_data(config: Run, photos: Path, tmp_path: Path) -> None:
    first = run_id(config)
    copied = shutil.copytree(photos, tmp_path / "copied")
    assert run_id(changed(config, "data.root", str(copied))) == first
    moved = photos.rename(tmp_path / "moved")
    assert run_id(changed(config, "data.root", str(moved))) == first
    assert run_id(changed(config, "data.root", str(tmp_path / "missing"))) != first


def test_weights_from_a_file_are_known_by_their_content(config: Run, tmp_path: Path) -> None:
    one, other, third = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors"))
    one.write_bytes(b"weights")
    other.write_bytes(b"weights")
    third.write_bytes(b"others")
    ids = [run_id(changed(config, "backbone.weights", str(path))) for path in (one, other, third)]
    assert ids[0] == ids[1] != ids[2] and run_id(config) not in ids


def test_a_folder_that_happens_to_be_called_pretrained_does_not_matter(
    config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = changed(config, "backbone.weights", "pretrained")
    first = run_id(wanted)
    (tmp_path / "pretrained").mkdir()
    assert run_id(wanted) == first


@pytest.mark.parametrize("kind", ["image.published.TorchvisionImages", "speech.published.SpeechCommands"])
def test_a_published_set_is_known_by_its_name(config: Run, tmp_path: Path, kind: str) -> None:
    named = changed(changed(config, "data.name", "CIFAR10"), "data._target_", f"frostline.data.{kind}")
    assert run_id(named) == run_id(changed(named, "data.root", str(tmp_path / "elsewhere")))
    assert run_id(named) != run_id(changed(named, "data.name", "CIFAR100"))


def test_a_runs_folder_is_named_by_its_id(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "aaa")
    assert folder == tmp_path / "runs" / "aaa"
    assert read_record(folder) is None
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"id": "aaa", "status": "failed", "config": {}}))
    assert read_record(folder) == {"id": "aaa", "status": "failed", "config": {}, "reason": None}


def test_what_a_file_of_texts_or_a_folder_of_weights_holds_decides(tmp_path: Path) -> None:
    texts, folder = tmp_path / "texts.csv", tmp_path / "network"
    texts.write_text("text,label\na,b\n")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    config = plain_run(data={"file": str(texts), "token_cache": "here"}, backbone={"name": str(folder)})
    first = run_id(config)
    assert run_id(replace(config, data={**config.data, "token_cache": None})) == first
    copied = tmp_path / "copied.csv"
    copied.write_bytes(texts.read_bytes())
    assert run_id(replace(config, data={**config.data, "file": str(copied)})) == first
    copied.write_text("text,label\na,c\n")
    assert run_id(replace(config, data={**config.data, "file": str(copied)})) != first
    (folder / "model.safetensors").write_bytes(b"weights")
    assert run_id(config) != first


def test_data_behind_links_are_told_apart_and_their_changes_seen(config: Run, photos: Path, tmp_path: Path) -> None:
    ids = {}
    for name, swap in (("one", False), ("two", True)):
        root = tmp_path / name
        root.mkdir()
        for label, other in (("cat", "dog"), ("dog", "cat")):
            (root / label).symlink_to(photos / (other if swap else label))
        ids[name] = run_id(changed(changed(config, "data.root", str(root)), "data.symlinks", True))
    assert ids["one"] != ids["two"]
    linked = changed(changed(config, "data.root", str(tmp_path / "one")), "data.symlinks", True)
    (photos / "cat/0.png").write_bytes(b"another")
    assert run_id(linked) != ids["one"]
    assert run_id(linked) == run_id(changed(changed(config, "data.root", str(photos)), "data.symlinks", True))


def test_an_edit_that_keeps_size_and_time_makes_another_run(
    config: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frostline.data.index.SETTLED_NS", 0)
    config = changed(config, "outputs", str(tmp_path / "outputs"))
    file = photos / "cat/0.png"
    first, before = run_id(config), file.stat()
    assert run_id(config) == first
    time.sleep(0.02)  # beyond a tick of the file system's clock
    file.write_bytes(bytes(reversed(file.read_bytes())))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run_id(config) != first


def test_files_that_no_reader_reads_do_not_matter(config: Run, photos: Path) -> None:
    first = run_id(config)
    (photos / "README.md").write_text("about these pictures")
    (photos / "cat/.DS_Store").write_text("hidden")
    (photos / "outputs/cache/index").mkdir(parents=True)
    (photos / "outputs/picture.png").write_text("of this program's own making")
    assert run_id(config) == first


@pytest.mark.parametrize("kind", ["image.datasets.ImageCSV", "speech.datasets.AudioFolder"])
def test_a_manifest_and_what_it_lists_decide_wherever_they_lie(
    config: Run, photos: Path, tmp_path: Path, kind: str
) -> None:
    manifest = tmp_path / "lists" / "labels.csv"
    manifest.parent.mkdir()
    manifest.write_text(f"path,label\n../photos/cat/0.png,cat\n{photos}/dog/0.png,dog\n")
    node = {"_target_": f"frostline.data.{kind}", "manifest": str(manifest), "root": None, "symlinks": True}
    listed = replace(config, data=node)
    first = run_id(listed)
    (photos / "cat/1.png").write_bytes(b"not on the list")
    assert run_id(listed) == first
    (photos / "cat/0.png").write_bytes(b"another")
    second = run_id(listed)
    assert second != first
    manifest.write_text(manifest.read_text().replace(",dog", ",wolf"))
    assert run_id(listed) not in (first, second)


def test_recordings_that_an_adapter_hears_decide(config: Run, tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    (sounds / "a.wav").write_bytes(b"one")
    hearing = replace(config, adapter={"_target_": "frostline.backbones.adapters.frames.Frames", "source": str(sounds)})
    first = run_id(hearing)
    assert first != run_id(replace(config, adapter={**hearing.adapter, "source": None}))
    shutil.copytree(sounds, tmp_path / "copied")
    assert run_id(replace(config, adapter={**hearing.adapter, "source": str(tmp_path / "copied")})) == first
    (sounds / "a.wav").write_bytes(b"two")
    assert run_id(hearing) != first


def test_code_that_a_target_names_decides(config: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "code" / "ours_of_a_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('an ID imports nothing')")
    (package / "networks.py").write_text("width = 3")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("FROSTLINE_ALLOW", "ours_of_a_test.networks")
    plain = run_id(config)
    own = changed(config, "backbone._target_", "ours_of_a_test.networks.make")
    first = run_id(own)
    (package / "networks.py").write_text("width = 4")
    assert run_id(own) != first
    assert run_id(config) == plain, "where no target names it, it does not matter"


def test_of_a_reader_of_ones_own_all_files_but_our_output_decide(config: Run, photos: Path) -> None:
    own = changed(config, "data._target_", "mine.Photos")
    first = run_id(own)
    (photos / "outputs/cache/index").mkdir(parents=True)
    (photos / "outputs/cache/index/0.json").write_text("of this program's own making")
    assert run_id(own) == first
    (photos / "cat/labels.xml").write_text("who knows what it reads")
    second = run_id(own)
    assert second != first
    (photos / "elsewhere").symlink_to(photos.parent / "linked")
    (photos.parent / "linked").mkdir()
    (photos.parent / "linked/more.bin").write_bytes(b"behind a link")
    assert run_id(own) not in (first, second)


def test_a_module_without_a_source_is_no_accident(config: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROSTLINE_ALLOW", "sourceless")
    monkeypatch.setitem(sys.modules, "sourceless", types.ModuleType("sourceless"))
    assert ID.fullmatch(run_id(changed(config, "backbone._target_", "sourceless.make")))


def test_one_reader_lists_for_the_run_and_for_its_id(config: Run, photos: Path) -> None:
    found = read_folder(str(photos), symlinks=False)
    train = found.splits["train"]
    assert list_data_files(config.data) == [*zip(train.names, train.content, strict=True)]
