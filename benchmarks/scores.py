"""Time the scores of frozen features, and show what they say of a network's depths on real data.

    python benchmarks/scores.py time [--samples 1000 5000 --width 1280 --threads 2]
    python benchmarks/scores.py data [--sets digits mnist5k --depths 3 --chart FOLDER]

``time`` takes made-up features of a falling spectrum and 10 classes and prints the seconds of each score. ``data``
reads EfficientNet-Lite0 with its ImageNet weights, frozen, at so many cuts (0: at all), each pooled by its mean over
places, prints for each the scores beside the accuracies of a solved probe and of 10 neighbours on validation, and how
well each score orders the depths as the probe does; with ``--chart`` it draws the depths into an SVG file. One line of
JSON each.
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

from frostline.backbones.cuts import find_cuts, prefix
from frostline.config.compose import compose, resolve
from frostline.heads import Linear
from frostline.intervals import Interval, share_interval
from frostline.profile.agreement import correlate_ranks
from frostline.profile.h_score import score_h
from frostline.profile.logme import score_logme
from frostline.profile.neighbours import ask_neighbours, judge_samples
from frostline.profile.nleep import score_nleep
from frostline.profile.score import Score
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
    centres_CD = torch.randn(classes, width, generator=random) * scales_D
    features_ND = centres_CD[labels_N] + torch.randn(samples, width, generator=random) * scales_D
    turn_DD = torch.linalg.qr(torch.randn(width, width, generator=random))[0]
    return (features_ND @ turn_DD).relu(), labels_N


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of the faster of two calls, and what it returned."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        found = function()
        seconds.append(time.perf_counter() - started)
    return min(seconds), found


def time_scores(samples: Sequence[int], width: int) -> None:
    """Print the seconds of each score; the neighbours are asked for a quarter as many samples."""
    for count in samples:
        features, labels = make_features(count + count // 4, width)
        train = features[:count], labels[:count]
        said: dict[str, Any] = {"samples": count, "width": width, "load": round(os.getloadavg()[0], 1)}
        for name, score in SCORES.items():
            seconds, found = timed(lambda score=score, train=train: score(*train))
            said[f"{name}_seconds"], said[name] = round(seconds, 2), found.value
        seconds, _ = timed(lambda train=train, asked=features[count:]: ask_neighbours(train, asked, NEIGHBOURS))
        print(json.dumps(said | {"neighbours_seconds": round(seconds, 2)}), flush=True)


def read_depths(name: str, depths: int) -> tuple[Ingredients, dict[str, Sides]]:
    """Return what a run on a data set is about, and its features at each depth by split, from one pass over each."""
    config = resolve(compose("run", [f"data={name}"]))
    made = Builder().build(config)
    cuts = find_cuts(made.backbone, config.data["size"])
    places = sorted({round(place * (len(cuts) - 1) / max(depths, 1)) for place in range(1, depths + 1)})
    names = [cuts[place].name for place in places] if depths else [cut.name for cut in cuts]
    network = prefix(made.backbone, names)
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


def read_depth(made: Ingredients, sides: Sides) -> dict[str, Any]:
    """Return what probe, neighbours and scores say of one depth."""
    (features, labels), (asked, real) = sides["train"], sides["val"]
    head = Linear(features.shape[1], len(made.data.classes))
    solve_head(head, made.task, (features, labels), (asked, real))
    with torch.no_grad():
        probed = judge_samples(head(asked).argmax(dim=1), real)
    near = ask_neighbours((features, labels), asked, NEIGHBOURS).classes
    assert near is not None
    scores = {name: score(features, labels) for name, score in SCORES.items()}
    return {
        "width": features.shape[1],
        "probe": float(probed.float().mean()),
        "neighbours": float(judge_samples(near, real).float().mean()),
        **{name: one.value if one.why is None else one.why for name, one in scores.items()},
    }


def show_data(name: str, depths: int) -> dict[str, dict[str, Any]]:
    """Print what is said of each depth, and how well each column orders the depths as the probe does."""
    started = time.perf_counter()
    made, found = read_depths(name, depths)
    passed = time.perf_counter() - started
    said = {}
    for depth, sides in found.items():
        said[depth] = read_depth(made, sides)
        print(json.dumps({"data": name, "depth": depth, **said[depth]}), flush=True)
    probes = [one["probe"] for one in said.values()]
    for column in ("neighbours", *SCORES):
        values = [one[column] if isinstance(one[column], float) else None for one in said.values()]
        agreement = correlate_ranks(values, probes)
        ends = agreement.interval and (round(agreement.interval.low, 2), round(agreement.interval.high, 2))
        tau = agreement.tau and round(agreement.tau, 2)
        print(json.dumps({"data": name, "column": column, "tau": tau, "interval": ends, "why": agreement.why}))
    print(json.dumps({"data": name, "passes_seconds": round(passed, 1), "load": round(os.getloadavg()[0], 1)}))
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "data"))
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--sets", nargs="+", default=["digits", "mnist5k"])
    parser.add_argument("--depths", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "time":
        time_scores(options.samples, options.width)
        return
    for name in options.sets:
        show_data(name, options.depths)


if __name__ == "__main__":
    main()
