"""Measure on this machine what benchmarks/scaling.py reckons with: decoding, hashing, the cache, what names take.

    python benchmarks/scaling_measured.py       # the figures, and what the ranks exchange in a step

Decoding and hashing are given for one core, by processor time; the rest is wall-clock time, the best of a few.
"""

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import distributed, nn
from torch._C._distributed_c10d import GradBucket, HashStore
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from frostline.backbones.base import Backbone
from frostline.config.allow import instantiate
from frostline.config.compose import compose, resolve
from frostline.data.base import Served
from frostline.data.image.headers import Limits, look
from frostline.data.image.pixels import decode_in_threads, decode_some
from frostline.data.index import DataIndex
from frostline.data.inputs import Pixels
from frostline.data.order import EpochBatches, Order, Share, draw_permutation
from frostline.features.activations import Activations, CachedSplit
from frostline.features.cache import Store, Writer
from frostline.files.atomic import sha256_file
from frostline.freeze.plan import Phase
from frostline.heads import Head, Linear
from frostline.ranks.place import meet_by_file, rank_variables
from frostline.results.store import make_identity
from frostline.tasks.multiclass import Multiclass
from frostline.training.module import FineTuner
from frostline.training.objectives.task import TaskLoss
from frostline.training.optim import Optimization
from scaling_cluster import CLASSES, STRATEGIES, Network, networks

LOOK = Pixels(224, 0.875, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
NUMBERS = 1280
"""Of one row of features, float32."""
ROWS = 50_000
BATCH = 64
FILES = 512
TIMES = 3


def best(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the least seconds that an action took."""
    spans = []
    for _ in range(TIMES):
        before = clock()
        action()
        spans.append(clock() - before)
    return min(spans)


def photograph(path: Path, seed: int) -> None:
    """Write a JPEG of about the size of ImageNet's: 500 x 375 pixels, some 110 kB."""
    noise = np.random.default_rng(seed).integers(0, 256, (94, 125, 3), np.uint8)
    Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=93)


def images(folder: Path, count: int = 64) -> dict[str, float]:
    """Measure what one image costs one core: decoding and resizing it, the look before, its hash."""
    paths = [str(folder / f"{index}.jpg") for index in range(count)]
    for index, path in enumerate(paths):
        photograph(Path(path), index)
    size = sum(Path(path).stat().st_size for path in paths)
    assert 80e3 < size / count < 150e3, f"{size / count:.0f} bytes an image"
    see = partial(look, limits=Limits(50_000_000, 256), decode=True)
    clock = time.process_time
    return {
        "decode_s": best(lambda: decode_some(paths, range(count), LOOK), clock) / count,
        "check_s": best(lambda: decode_in_threads(see, paths), clock) / count,
        "digest_rate": size / best(lambda: decode_in_threads(lambda path: sha256_file(Path(path)), paths), clock),
    }


def names(folder: Path, few: int = 1000, many: int = 7000) -> dict[str, float]:
    """Measure what a data set of image files takes in memory for each, and how long its run's ID takes."""
    listed(folder, few)  # what is loaded the first time is not counted
    before, before_peak = listed(folder, few)
    held, peak = listed(folder, many)
    found = {"listing_bytes": (held - before) / (many - few) + 8}  # the tensor of labels is not traced
    found["listing_peak"] = (peak - before_peak) / (many - few) + 8
    config = replace(resolve(compose("run", [])), data={"root": str(folder)})
    return found | {"walk_s": best(lambda: make_identity(config)) / many}


def listed(folder: Path, count: int) -> tuple[int, int]:
    """Return the bytes that a data set of so many tiny images holds, and the most while it is made."""
    for index in range(count):
        place = folder / "train" / f"n{index % 10:08}"
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), random.Random(index).randrange(256)).save(place / f"n{index % 10:08}_{index:05}.JPEG")
    config = resolve(compose("run", ["data=imagefolder", f"data.root={folder}"]))
    run = {"preprocess": LOOK, "augment": None, "task": instantiate(config.task, "task"), "seed": 0}
    tracemalloc.start()
    data = instantiate(config.data, "data", **run, index=DataIndex())
    gc.collect()
    traced = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(len, data.splits.values())) == count
    return traced


def order(count: int = 10_000_000) -> dict[str, float]:
    """Measure an epoch's order: its permutation, and its batches as views of that."""
    before, started = _resident(), time.perf_counter()
    batches = iter(EpochBatches(Order(count, 8 * BATCH), True, Share(0, 8)))
    next(batches)
    return {"order_s": (time.perf_counter() - started) / count, "order_bytes": (_resident() - before) / count}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _read_from_disk() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


def cache(folder: Path) -> dict[str, float]:
    """Measure the cache with rows as EfficientNet-Lite0's features: written, summed, read in memory and mapped."""
    content = np.random.default_rng(0).random((ROWS, NUMBERS), np.float32)
    total = content.nbytes
    store = Store(folder)

    def write() -> None:
        writer = Writer(store, "measured", {})
        for start in range(0, ROWS, 32):
            writer.append(content[start : start + 32].tobytes())
        writer.finish(ROWS)
        writer.abandon()

    file = folder / "rows.bin"
    write_s = best(write)
    file.write_bytes(content.tobytes())
    tensor = torch.from_numpy(content)
    found = {"write_rate": total / write_s, "sum_rate": total / best(lambda: sha256_file(file))}
    found["memory_rate"] = total / best(lambda: read(Activations([tensor])))
    found["mapped_rate"] = total / best(lambda: read(Activations([mapped(file)])))
    parts = list(tensor.split(-(-ROWS // FILES)))
    one, many = best(lambda: read(Activations([tensor]), 50)), best(lambda: read(Activations(parts), 50))
    found["files_s"] = (many - one) / 50 / len(parts)
    return found | {"cold_bytes": cold(file)}


def mapped(file: Path) -> torch.Tensor:
    """Return a file's rows, mapped as PrefixCache maps them."""
    return torch.from_numpy(np.memmap(file, np.uint8, "c")).view(torch.float32).view(-1, NUMBERS)


def read(rows: Activations, batches: int | None = None) -> None:
    """Read an epoch of shuffled batches, or the first few, through Frostline's loader."""
    source = CachedSplit({0: rows}, 0.0)
    order = EpochBatches(Order(ROWS, BATCH), shuffle=True)
    loader = DataLoader(Served(source, torch.zeros(ROWS)), sampler=order, batch_size=None)
    for index, _ in enumerate(loader):
        if index + 1 == batches:
            break


def cold(file: Path, count: int = 16) -> float:
    """Return how many bytes come from the disk for a row of a mapped file, of which few rows are read at random."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = _read_from_disk()
    CachedSplit({0: Activations([mapped(file)])}, 0.0).inputs(draw_permutation(ROWS, 0)[:count], 0)
    return (_read_from_disk() - before) / count


@contextmanager
def alone() -> Iterator[None]:
    """Be a process group of one."""
    distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def exchanged(module: FineTuner, phase: Phase, inputs: torch.Tensor, body: nn.Module) -> int:
    """Return the bytes that DDP exchanges in a step of a phase, as its communication hook is given them.

    Made as conf/trainer/ddp.yaml does, so that no buffers are broadcast. In a process group, see ``alone``.
    """
    module.enter(phase, 0, body)
    wrapped = DistributedDataParallel(module, broadcast_buffers=False)
    seen: list[int] = []

    def hook(state: list[int], bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
        state.append(bucket.buffer().nbytes)
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    wrapped.register_comm_hook(seen, hook)
    wrapped(inputs).sum().backward()
    assert not wrapped.will_sync_module_buffers()
    return sum(seen)


def tuner(backbone: Backbone, head: Head) -> FineTuner:
    """Return a module that can enter phases."""
    optimization = Optimization(torch.optim.SGD, 0.1, lambda done: 1.0)
    return FineTuner(
        backbone, head, Multiclass(label_smoothing=0.0, class_weights=None), {"task": TaskLoss()}, optimization
    )


def counted(network: Network) -> dict[str, dict[str, int]]:
    """Return what the last phase of each strategy all-reduces: as reckoned, and as DDP's hook counts it."""
    module = tuner(network.backbone, Linear(network.backbone.num_features, CLASSES, solver=None, dropout=0.0))
    inputs = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)  # gradients are as large with small images
    found = {}
    with alone():
        for strategy in STRATEGIES:
            phase = network.plan(strategy).phases[-1]
            seen = exchanged(module, phase, inputs, network.backbone)
            found[strategy] = {"reckoned": network.reduced(phase), "counted": seen}
    return found


def steps() -> str:
    """Return what two ranks of a real run call in a step, and how long the call takes that asks whether to stop."""
    script = Path(__file__).with_name("scaling_ranks.py")
    with tempfile.TemporaryDirectory(prefix="frostline-scaling-") as folder:
        meeting = meet_by_file(Path(folder))
        given = [{**os.environ, **rank_variables("watched", rank, rank, 2, 2, 0, meeting)} for rank in range(2)]
        words = [sys.executable, str(script), folder]
        other = subprocess.Popen(words, env=given[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = subprocess.run(words, env=given[0], capture_output=True, text=True)
        other.wait()
    if done.returncode:
        raise SystemExit(done.stderr)
    return next(line for line in done.stdout.splitlines() if line.startswith("{"))


def measure() -> dict[str, float]:
    """Return all figures of scaling.Measured."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="frostline-scaling-", dir=".") as folder:
        root = Path(folder)
        for name in ("photographs", "names", "cache"):
            (root / name).mkdir()
        found = order()
        return found | images(root / "photographs") | names(root / "names") | cache(root / "cache")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(json.dumps({name: float(f"{value:.3g}") for name, value in measure().items()}, indent=2))
    print("bytes all-reduced in a step:", json.dumps(counted(networks()[0]), indent=2))
    print("two ranks:", steps())


if __name__ == "__main__":
    main()
