"""Real records for reports: a few real runs, and comparisons of any size made after their pattern."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

STRATEGIES = {"linear_probe": (0.80, 4.0), "last_k(k=1)": (0.86, 12.0), "full": (0.87, 30.0), "scratch": (0.40, 31.0)}
Comparison = Callable[..., Path]


@pytest.fixture(scope="session")
def real_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two real runs: a linear probe and last_k on small digits, two epochs."""
    folder = tmp_path_factory.mktemp("real")
    words = [
        "backbone=timm",
        "backbone.name=test_resnet",
        "backbone.weights=none",
        "data=digits",
        "data.num_per_class=5",
        "data.size=32",
        "epochs=2",
        "freeze=linear_probe,last_k",
    ]
    command = [sys.executable, "-m", "frostline", "run", "-m", *words]
    done = subprocess.run(command, cwd=folder, env=dict(os.environ), text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "outputs" / "runs"


@pytest.fixture(scope="session")
def template(real_runs: Path) -> Path:
    """Return the folder of a real run of last_k."""
    return next(path.parent for path in sorted(real_runs.glob("*/record.json")) if "last_k" in path.read_text())


@pytest.fixture
def comparison(template: Path, tmp_path: Path) -> Comparison:
    """Return a function that writes a comparison's folder, its runs after the pattern of a real one."""

    def write(
        strategies: Mapping[str, tuple[float, float]] = STRATEGIES,
        blocks: Sequence[Mapping[str, str]] = ({},),
        seeds: Sequence[int] = (0, 1, 2),
        change: Callable[[str, Mapping[str, str], int, dict[str, Any]], None] = lambda *_: None,
        **content: Any,
    ) -> Path:
        runs = []
        for block in blocks:
            for label, (accuracy, seconds) in strategies.items():
                for seed in seeds:
                    name = f"r{len(runs):04}"
                    record = json.loads((template / "record.json").read_text())
                    vary(record, label, block, seed, accuracy, seconds)
                    answers = answer(template, record, seed, accuracy)
                    change(label, block, seed, record)
                    put(tmp_path / "runs" / name, record, answers, template)
                    runs.append(entry(label, block, seed, name))
        return index(tmp_path / "comparisons" / "toy", strategies, blocks, seeds, runs, content)

    return write


def vary(
    record: dict[str, Any], label: str, block: Mapping[str, str], seed: int, accuracy: float, seconds: float
) -> None:
    """Make a real record that of another strategy, block and seed."""
    name, _, options = label.rstrip(")").partition("(")
    pairs = dict(pair.split("=") for pair in options.split(", ") if "=" in pair)
    record["config"]["freeze"] = {"_target_": f"frostline.freeze.strategies.{name}", **pairs}
    record["config"]["seed"] = seed
    for key, value in block.items():
        node, _, leaf = key.partition(".")
        record["config"][node][leaf or "name"] = value
    record["data"]["fingerprint"] = f"{seed:02}" + "".join(block.values()).ljust(62, "0")
    record["cost"] |= {
        "seconds": seconds + seed / 10,
        "forward_flops": seconds * 1e11,
        "backward_flops": seconds * 2e11,
    }
    record["parameters"]["trainable"] = [12810, int(seconds * 1e5)]


def answer(template: Path, record: dict[str, Any], seed: int, accuracy: float) -> list[list[str]]:
    """Return rows of predictions.csv that come to about this accuracy; the record gets the scores they come to."""
    draw, classes = random.Random(f"{seed} {accuracy}"), record["data"]["classes"]
    with (template / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = [[0] * len(classes) for _ in classes]
    answers = []
    for row in rows:
        said = (
            row["label"] if draw.random() < accuracy else draw.choice([one for one in classes if one != row["label"]])
        )
        table[classes.index(row["label"])][classes.index(said)] += 1
        answers.append([row["sample"], row["label"], said])
    right = sum(table[place][place] for place in range(len(classes))) / len(rows)
    record["confusion"] = table
    record["metrics"]["test"] |= {"accuracy": right, "balanced_accuracy": right, "f1": right}
    return answers


def put(folder: Path, record: dict[str, Any], answers: Sequence[Sequence[str]], template: Path) -> None:
    """Write a run's folder."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "metrics.csv").write_bytes((template / "metrics.csv").read_bytes())
    with (folder / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["sample", "label", "prediction"], *answers])
    shutil.copytree(template / "mistakes", folder / "mistakes")


def entry(label: str, block: Mapping[str, str], seed: int, name: str) -> dict[str, Any]:
    """Return a run as comparison.json has it."""
    return {
        "label": label,
        "block": dict(block),
        "seed": seed,
        "lr": 0.001,
        "epochs": 2,
        "trial": False,
        "id": name,
        "path": f"../../runs/{name}",
    }


def index(
    folder: Path,
    strategies: Mapping[str, Any],
    blocks: Sequence[Mapping[str, str]],
    seeds: Sequence[int],
    runs: Sequence[Any],
    content: Mapping[str, Any],
) -> Path:
    """Write comparison.json."""
    axes = {axis: list(dict.fromkeys(block[axis] for block in blocks)) for axis in blocks[0]}
    whole = {
        "format": 2,
        "name": "toy",
        "command": "frostline compare data=digits",
        "factor": "freeze",
        "axes": {"freeze": list(strategies), **axes},
        "seeds": list(seeds),
        "budget": {"epochs": None, "seconds": None},
        "lr_grid": [],
        "lr_seed": None,
        "wall_seconds": 321.0,
        "extraction": {"seconds": 4.5, "bytes": 3_000_000, "passes": 1},
        "tuned": [],
        "runs": list(runs),
    }
    folder.mkdir(parents=True)
    (folder / "comparison.json").write_text(json.dumps(whole | dict(content)))
    return folder
