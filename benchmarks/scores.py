"""Time the scores of frozen features, and show what they say of a network's depths on real data.

    python benchmarks/scores.py time [--samples 1000 5000 --width 1280 --threads 2]
    python benchmarks/scores.py data [--sets digits mnist5k --depths 3 --size 64 --chart FOLDER]

``time`` takes made-up features of a falling spectrum and 10 classes and prints the seconds of each score. ``data``
reads EfficientNet-Lite0 with its ImageNet weights, frozen, at so many cuts (0: at all), each pooled by its mean over
places, prints for each the scores beside the accuracies of a solved probe and of 10 neighbours on validation, and how
well each score orders the depths as the probe does, one line of JSON each; with ``--chart`` it draws the depths, and
the probe of all that were read joined, into an SVG file.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frostline.backbones.cuts import find_cuts, make_prefix
from frostline.config.compose import compose, resolve
from frostline.heads import Linear
from frostline.intervals import share_interval
from frostline.profiles.agreement import correlate_ranks
from frostline.profiles.h_score import score_h
from frostline.profiles.logme import score_logme
from frostline.profiles.neighbours import ask_neighbours, judge_samples
from frostline.profiles.nleep import score_nleep
from frostline.profiles.score import Score
from frostline.report.page.charts import Axis, Bar, Reading, depth_chart, make_standalone
from frostline.runs.build import Builder, Ingredients
from frostline.training.solve import solve_head

NEIGHBOURS = 10
SCORES: dict[str, Callable[[Tensor, Tensor], Score]] = {"logme": score_logme, "h_score": score_h, "nleep": score_nleep}
Sides = dict[str, tuple[Tensor, Tensor]]
"""Features and labels of each split."""


def make_features(samples: int, width: int, classes: int = 10) -> tuple[Tensor, Tensor]:
    """Return features [N, D] whose variances fall as 1 / rank, as those of networks do, and labels [N]."""
    random = torch.Generator().manual_seed(0)
    scales_D = 1 / torch.arange(1, width + 1).sqrt()
    labels_N = torch.arange(samples) % classes
    centres_CD = 0.4 * torch.randn(classes, width, generator=random) * scales_D
    features_ND = centres_CD[labels_N] + torch.randn(samples, width, generator=random) * scales_D
    turn_DD = torch.linalg.qr(torch.randn(width, width, generator=random))[0]
    return (features_ND @ turn_DD).relu(), labels_N


def timed(name: str, function: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Return the seconds of the faster of two calls, by the clock and by the processors, and what it returned.

    On a busy machine those of the processors are what to compare.
    """
    seconds, found = [], None
    for _ in range(2):
        started, used = time.perf_counter(), time.process_time()
        found = function()
        seconds.append((time.perf_counter() - started, time.process_time() - used))
    clock, used = min(seconds)
    return {f"{name}_seconds": round(clock, 2), f"{name}_processors": round(used, 2)}, found


def time_scores(samples: Sequence[int], width: int) -> None:
    """Print the seconds of each score; the neighbours are asked for a quarter as many samples."""
    for count in samples:
        features, labels = make_features(count + count // 4, width)
        train = features[:count], labels[:count]
        said: dict[str, Any] = {"samples": count, "width": width, "load": round(os.getloadavg()[0], 1)}
        for name, score in SCORES.items():
            seconds, found = timed(name, lambda score=score, train=train: score(*train))
            said |= {**seconds, name: found.value}
        asked = features[count:]
        seconds, _ = timed("neighbours", lambda train=train, asked=asked: ask_neighbours(train, asked, NEIGHBOURS))
        print(json.dumps(said | seconds), flush=True)


def read_depths(name: str, depths: int, size: int) -> tuple[Ingredients, dict[str, Sides]]:
    """Return what a run on a data set is about, and its features at each depth by split, from one pass over each."""
    config = resolve(compose("run", [f"data={name}", f"data.size={size}"]))
    made = Builder().build(config)
    cuts = find_cuts(made.backbone, size)
    places = sorted({round(place * (len(cuts) - 1) / max(depths, 1)) for place in range(1, depths + 1)})
    names = [cuts[place].name for place in places] if depths else [cut.name for cut in cuts]
    network = make_prefix(made.backbone, names)
    found: dict[str, Sides] = {one: {} for one in names}
    for split in ("train", "val"):
        samples = made.data.splits[split]
        parts: dict[str, list[Tensor]] = {one: [] for one in names}
        for indices in torch.arange(len(samples)).split(64):
            with torch.inference_mode():
                outputs = network(made.data.augment_batch(split, samples.inputs(indices, 0), indices, 0))
            for one, output in zip(names, outputs, strict=True):
                parts[one].append(output.float().flatten(2).mean(dim=2) if output.dim() > 2 else output.float())
        for one in names:
            found[one][split] = torch.cat(parts[one]), samples.labels
    return made, found


def right_by_probe(made: Ingredients, sides: Sides) -> Tensor:
    """Return which validation samples a solved probe has right [M]."""
    (features, labels), (asked, real) = sides["train"], sides["val"]
    head = Linear(features.shape[1], len(made.data.classes), solver="lbfgs", dropout=0.0)
    solve_head(head, made.task, (features, labels), (asked, real))
    with torch.no_grad():
        return judge_samples(head(asked).argmax(dim=1), real)


def right_by_neighbours(sides: Sides) -> Tensor:
    """Return which validation samples their neighbours have right [M]."""
    near = ask_neighbours(sides["train"], sides["val"][0], NEIGHBOURS).classes
    assert near is not None
    return judge_samples(near, sides["val"][1])


def join_depths(found: dict[str, Sides]) -> Sides:
    """Return the features of all depths side by side, each depth centred and scaled to one variance by train."""
    joined: dict[str, list[Tensor]] = {"train": [], "val": []}
    for sides in found.values():
        like = sides["train"][0]
        spread = like.var(dim=0).sum().sqrt().clamp_min(1e-9)
        for split, parts in joined.items():
            parts.append((sides[split][0] - like.mean(dim=0)) / spread)
    labels = {split: labels for split, (_, labels) in next(iter(found.values())).items()}
    return {split: (torch.cat(parts, dim=1), labels[split]) for split, parts in joined.items()}


def make_reading(name: str, rights: Sequence[Tensor]) -> Reading:
    """Return accuracies with their intervals, of which samples are right at each depth."""
    ends = [share_interval(int(right.sum()), len(right)) for right in rights]
    scores = [float(right.double().mean()) for right in rights]
    return Reading(name, scores, [end.low for end in ends], [end.high for end in ends])


def show_agreement(name: str, columns: dict[str, list[float | None]], probes: Sequence[float]) -> None:
    """Print how well each column orders the depths as the probe does."""
    for column, values in columns.items():
        found = correlate_ranks(values, probes)
        ends = found.interval and [round(found.interval.low, 2), round(found.interval.high, 2)]
        tau = None if found.tau is None else round(found.tau, 2)
        print(json.dumps({"data": name, "column": column, "tau": tau, "interval": ends, "why": found.why}))


def show_data(name: str, depths: int, size: int, chart: Path | None) -> None:
    """Print what is said of each depth and how well that orders depths, and draw the depths."""
    started = time.perf_counter()
    made, found = read_depths(name, depths, size)
    passed = time.perf_counter() - started
    probed, near = [], []
    columns: dict[str, list[float | None]] = {column: [] for column in ("neighbours", *SCORES)}
    for depth, sides in found.items():
        probed.append(right_by_probe(made, sides))
        near.append(right_by_neighbours(sides))
        columns["neighbours"].append(float(near[-1].double().mean()))
        for column, score in SCORES.items():
            columns[column].append(score(*sides["train"]).value)
        said = {column: values[-1] for column, values in columns.items()}
        width, accuracy = sides["train"][0].shape[1], float(probed[-1].double().mean())
        print(json.dumps({"data": name, "depth": depth, "width": width, "probe": accuracy, **said}), flush=True)
    show_agreement(name, columns, [float(right.double().mean()) for right in probed])
    print(json.dumps({"data": name, "passes_seconds": round(passed, 1), "load": round(os.getloadavg()[0], 1)}))
    if chart is not None:
        right = right_by_probe(made, join_depths(found))
        interval = share_interval(int(right.sum()), len(right))
        joined = Bar("joined", float(right.double().mean()), interval.low, interval.high)
        readings = [make_reading("solved probe", probed), make_reading(f"{NEIGHBOURS} neighbours", near)]
        chart.mkdir(parents=True, exist_ok=True)
        svg = make_standalone(depth_chart(list(found), readings, Axis("validation accuracy"), [joined]))
        (chart / f"{name}.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "data"))
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--sets", nargs="+", default=["digits", "mnist5k"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--depths", type=int, default=3)
    parser.add_argument("--chart", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "time":
        time_scores(options.samples, options.width)
        return
    for name in options.sets:
        show_data(name, options.depths, options.size, options.chart)


if __name__ == "__main__":
    main()
