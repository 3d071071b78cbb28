"""A pass reads, computes and writes at the same time: the same bytes, the same errors, no thread and no file left."""

# pyright: reportAttributeAccessIssue=false

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests import configs
from tests.data.sounds import folders
from tests.sequences import sequences, tiny
from torch import Tensor, distributed, nn

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, find_cuts, make_prefix
from frostline.config.compose import compose, resolve
from frostline.data.base import DataModule
from frostline.data.image.datasets import ImageFolder
from frostline.data.inputs import Ragged
from frostline.data.order import WINDOW
from frostline.errors import UserError
from frostline.features.cache import Store
from frostline.features.prefix import BATCH, LENGTH, PrefixCache
from frostline.ranks.collectives import Ranks
from frostline.runs.build import Builder


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    yield
    assert [one.name for one in threading.enumerate() if one.name.startswith("frostline")] == []


def simple(backbone: Backbone, data: DataModule, split: str, view: int, cuts: list[Cut], parts: int) -> list[list[str]]:
    """Return the SHA-256 of each part at each cut, by a loop that does one thing after the other."""
    samples = data.splits[split]
    network = make_prefix(backbone, [cut.name for cut in cuts]).eval()
    windows = torch.arange(len(samples)).split(BATCH * (1 if samples.lengths is None else WINDOW))
    each, found = -(-len(windows) // parts), []
    for part in range(parts):
        rows: list[list[Tensor]] = [[] for _ in cuts]
        ragged = [False] * len(cuts)
        for window in windows[part * each : (part + 1) * each]:
            ordered = window if samples.lengths is None else window[samples.lengths[window].argsort(stable=True)]
            made: list[dict[int, Tensor]] = [{} for _ in cuts]
            for indices in ordered.split(BATCH):
                with torch.inference_mode():
                    outputs = network(data.augment_batch(split, samples.inputs(indices, view), indices, view))
                for place, output in enumerate(outputs):
                    for at, index in enumerate(indices.tolist()):
                        end = int(output.lengths[at]) if isinstance(output, Ragged) else None
                        made[place][index] = (output.values if isinstance(output, Ragged) else output)[at][:end]
                ragged = [isinstance(output, Ragged) for output in outputs]
            for place in range(len(cuts)):
                rows[place] += [made[place][index] for index in window.tolist()]
        sums = []
        for place, own in enumerate(rows):
            sum_ = hashlib.sha256(b"".join(row.contiguous().numpy().tobytes() for row in own))
            if own and ragged[place]:
                sum_.update(torch.tensor([len(row) for row in own]).numpy().astype(LENGTH).tobytes())
            sums.append(sum_.hexdigest())
        found.append(sums)
    return found


def written(root: Path, cuts: list[Cut]) -> list[list[str]]:
    """Return what the manifests say of each part at each cut."""
    entries = {entry.manifest["about"]["cut"]: entry.manifest["parts"] for entry in Store(root).entries()}
    return [[entries[cut.name][part]["sha256"] for cut in cuts] for part in range(len(entries[cuts[0].name]))]


@pytest.mark.parametrize(
    "options", [{}, {"memory_gb": 0.0}, {"augment": configs.make("augment/light"), "views": 2}, {"workers": 1}]
)
def test_images_come_to_the_bytes_of_a_simple_loop(make: Any, tmp_path: Path, options: dict[str, Any]) -> None:
    backbone = make()
    pictures(tmp_path / "data", 40)
    data = configs.make(
        "data/imagefolder", root=str(tmp_path / "data"), preprocess=backbone.preprocess, size=32, **options
    )
    cuts, view = find_cuts(backbone, 32)[1::4], int(options.get("views", 1)) - 1
    PrefixCache(Store(tmp_path / "cache"), backbone, data).fill("train", view, cuts)
    assert written(tmp_path / "cache", cuts) == simple(backbone, data, "train", view, cuts, 1)


def test_texts_come_to_the_bytes_of_a_simple_loop(tmp_path: Path) -> None:
    backbone, data = tiny(), sequences(count=600)  # three windows
    cuts = find_cuts(backbone, 6)
    PrefixCache(Store(tmp_path), backbone, data).fill("train", 0, cuts)
    assert written(tmp_path, cuts) == simple(backbone, data, "train", 0, cuts, 1)


def test_speech_comes_to_the_bytes_of_a_simple_loop(tmp_path: Path) -> None:
    said = ["backbone=voice_encoder", "backbone.weights=none", "data=audiofolder", "data.seconds=0.5"]
    root = folders(tmp_path / "data", count=20)
    config = resolve(compose("run", [*said, f"data.root={root}", f"outputs={tmp_path}"]))
    made = Builder().build(config)
    backbone, data = made.backbone, made.data
    cuts = find_cuts(backbone, data.typical)
    PrefixCache(Store(tmp_path / "cache"), backbone, data).fill("train", 0, cuts)
    assert written(tmp_path / "cache", cuts) == simple(backbone, data, "train", 0, cuts, 1)


def fill(rank: int, folder: str) -> None:
    """Be one of two ranks that fill a cache together."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    try:
        backbone = tiny()
        cache = PrefixCache(Store(Path(folder) / "cache"), backbone, sequences(count=600), ranks=Ranks(rank, 2))
        cache.fill("train", 0, find_cuts(backbone, 6))
    finally:  # gloo aborts a process that ends with a group whose other ranks have gone
        distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_come_to_the_bytes_of_a_simple_loop(tmp_path: Path) -> None:
    code = "import sys; from tests.features.test_passes import fill; fill(int(sys.argv[1]), sys.argv[2])"
    words, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ranks = [
        subprocess.Popen([*words, str(rank), str(tmp_path)], env=environment, stderr=subprocess.PIPE) for rank in (0, 1)
    ]
    said = [rank.communicate(timeout=100)[1].decode()[-2000:] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    backbone, data = tiny(), sequences(count=600)
    cuts = find_cuts(backbone, 6)
    assert written(tmp_path / "cache", cuts) == simple(backbone, data, "train", 0, cuts, 2)


@pytest.mark.slow
def test_a_rank_that_cannot_write_is_an_error_on_all_ranks(tmp_path: Path) -> None:
    """Only the first rank claims an entry: the others must not wait for it where it fails."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    code = "import sys; from tests.features.test_passes import fill; fill(int(sys.argv[1]), sys.argv[2])"
    words, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ranks = [
        subprocess.Popen([*words, str(rank), str(tmp_path)], env=environment, stderr=subprocess.PIPE) for rank in (0, 1)
    ]
    said = [rank.communicate(timeout=60)[1].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [1, 1]
    assert "FileExistsError" in said[0] and "another rank could not write the cache" in said[1]


def pictures(root: Path, count: int) -> None:
    """Write images of noise in two classes."""
    for index in range(count):
        for split in ("train", "val", "test"):
            path = root / split / "ab"[index % 2] / f"{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8, generator=torch.manual_seed(index))
            Image.fromarray(noise.numpy()).save(path)


def files(root: Path, backbone: Backbone, count: int = 100) -> ImageFolder:
    """Return images that are decoded batch by batch."""
    pictures(root, count)
    return configs.make("data/imagefolder", root=str(root), preprocess=backbone.preprocess, size=32, memory_gb=0.0)


def test_an_image_that_breaks_meanwhile_is_named_and_leaves_nothing(make: Any, tmp_path: Path) -> None:
    backbone = make()
    data = files(tmp_path / "data", backbone)
    data.check(("train",))
    (tmp_path / "data" / "train" / "b" / "099.png").write_bytes(b"no image")
    cache = PrefixCache(Store(tmp_path / "cache"), backbone, data)
    with pytest.raises(UserError, match=r"099\.png .* has changed since it was checked"):
        cache.fill("train", 0, find_cuts(backbone, 32))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_disk_that_fills_up_is_an_error_that_leaves_nothing(
    make: Any, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    backbone = make()
    data, cuts = files(tmp_path / "data", backbone), find_cuts(backbone, 32)
    for most in (10_000, 100_000):
        with full_disk(most), pytest.raises(OSError):
            PrefixCache(Store(tmp_path / "cache"), backbone, data).fill("train", 0, cuts)
        assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("where", ["network", "disk", "images"])
def test_an_interrupt_ends_a_pass_wherever_it_waits(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    backbone = make()
    data, cuts = files(tmp_path / "data", backbone), find_cuts(backbone, 32)[-1:]
    slow(where, backbone, data, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.7, signal.raise_signal, [signal.SIGINT]).start()
        PrefixCache(Store(tmp_path / "cache"), backbone, data).fill("train", 0, cuts)
    assert list((tmp_path / "cache").iterdir()) == []


def slow(where: str, backbone: Backbone, data: DataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one of the three things that go on at the same time take long."""

    def wait(real: Callable[..., Any]) -> Callable[..., Any]:
        def waiting(*arguments: Any) -> Any:
            time.sleep(0.5)
            return real(*arguments)

        return waiting

    if where == "network":
        first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_hook(lambda *call: time.sleep(0.5))
    elif where == "disk":
        monkeypatch.setattr("frostline.features.cache.Writer.append", wait(_append))
    else:
        data.check(("train",))
        samples = data.splits["train"]
        monkeypatch.setattr(samples, "inputs", wait(samples.inputs))


def _append(writer: Any, content: memoryview) -> None:
    writer.file.write(content)


def test_reading_and_writing_go_on_while_the_network_computes(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four windows, 0.5 s for each step of each: one after the other they would take 6 s."""
    backbone = make()
    data, cut = files(tmp_path / "data", backbone, 128), find_cuts(backbone, 32)[-1]
    for where in ("network", "disk", "images"):
        slow(where, backbone, data, monkeypatch)
    started = time.monotonic()
    PrefixCache(Store(tmp_path / "cache"), backbone, data).fill("train", 0, [cut])
    assert time.monotonic() - started < 4.5
