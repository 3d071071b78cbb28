"""Time filling the prefix cache by a loop of its own against Frostline's pass, in turns, on files and in memory.

    python benchmarks/extraction.py [--images 600 --size 96 --rounds 5 --threads 2]

Makes JPEGs, then extracts them at two cuts of a network into a new store each time: by a plain loop (read, compute,
copy, write), and by `run_pass`, which does them at the same time. The images are decoded batch by batch
(``files``), lie in memory (``memory``), or lie there and are augmented (``augmented``). Prints a line of JSON for each:
the medians of the seconds, and the ratio of pass to loop, the median over rounds.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from frostline.backbones.base import Backbone
from frostline.backbones.cuts import Cut, find_cuts, prefix
from frostline.backbones.traced.builders import timm_backbone
from frostline.config.compose import compose, resolve
from frostline.data.base import DataModule
from frostline.data.inputs import Inputs
from frostline.features.cache import Store, Writer
from frostline.features.passes import Collector, run_pass
from frostline.features.prefix import BATCH
from frostline.runs.build import Builder
from memory import make_images

WAYS = {
    "memory": ["augment=none"],
    "files": ["augment=none", "data.memory_gb=0"],
    "augmented": ["augment=light", "augment.flip=0.5", "augment.scale=0.8", "data.views=2"],
}


def make_data(backbone: Backbone, *overrides: str) -> DataModule:
    """Return images in folders as a run's config asks for them."""
    config, builder = resolve(compose("run", ["data=imagefolder", *overrides])), Builder()
    return builder.data(config, backbone, builder.task(config))


def loop(backbone: Backbone, data: DataModule, cuts: Sequence[Cut], collectors: Sequence[Collector]) -> None:
    """Extract one step after the other."""
    network = prefix(backbone, [cut.name for cut in cuts]).eval()
    samples = data.splits["train"]
    for indices in torch.arange(len(samples)).split(BATCH):
        inputs = data.augment_batch("train", samples.inputs(indices, 0), indices, 0)
        with torch.inference_mode():
            outputs = network(inputs)
        for collector, output in zip(collectors, outputs, strict=True):
            collector.add([output], [indices])


def overlapped(backbone: Backbone, data: DataModule, cuts: Sequence[Cut], collectors: Sequence[Collector]) -> None:
    """Extract as Frostline does."""
    network = prefix(backbone, [cut.name for cut in cuts]).eval()

    def ready(inputs: Inputs, indices: Tensor) -> Inputs:
        return data.augment_batch("train", inputs, indices, 0)

    run_pass(network, data.serve_in_order("train", 0, BATCH), ready, torch.no_grad, collectors)


def timed(way: object, backbone: Backbone, data: DataModule, cuts: Sequence[Cut]) -> float:
    """Return the seconds that one pass takes, its entries written and synced."""
    assert callable(way)
    with tempfile.TemporaryDirectory(prefix="frostline-extraction-") as folder:
        started = time.perf_counter()
        collectors = [Collector(Writer(Store(Path(folder)), cut.name, {})) for cut in cuts]
        way(backbone, data, cuts, collectors)
        for collector in collectors:
            assert collector.writer is not None
            collector.writer.finish(len(data.splits["train"]))
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backbone = timm_backbone(
        options.network, "none", size=options.size, channels_last="auto", batch_norm="auto", compile=False, options={}
    )
    found = find_cuts(backbone, options.size)
    cuts = [found[len(found) // 2], found[-1]]
    with tempfile.TemporaryDirectory(prefix="frostline-extraction-") as folder:
        images = Path(folder) / "images"
        make_images(images, options.images, 256)
        common = [f"data.root={images}", f"data.size={options.size}", f"outputs={folder}/outputs"]
        for name, overrides in WAYS.items():
            data = make_data(backbone, *common, *overrides)
            data.check(("train",))
            rounds = [
                [timed(way, backbone, data, cuts) for way in (loop, overlapped)] for _ in range(options.rounds + 1)
            ][1:]
            seconds = {"loop": median(one for one, _ in rounds), "pass": median(one for _, one in rounds)}
            ratio = median(two / one for one, two in rounds)
            print(json.dumps({"images": name, "threads": torch.get_num_threads(), **seconds, "ratio": ratio}))


if __name__ == "__main__":
    main()
