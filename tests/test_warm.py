"""A run whose prefix is cached, and whose data are known, reads no training sample before it trains."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.finished_runs import finished

from frostline.config.compose import compose, resolve
from frostline.config.schema import Run

SEEN: list[str] | None = None


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if SEEN is not None and event == "open" and isinstance(arguments[0], str | Path):
        SEEN.append(str(arguments[0]))


def opened(config: Run, root: Path) -> tuple[dict[str, Any], list[str]]:
    """Run a config; return its record, and which files of the data set were opened."""
    global SEEN
    SEEN = []
    try:
        record, _ = finished(config)
        return record, [path for path in SEEN if path.startswith(str(root))]
    finally:
        SEEN = None


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_a_warm_run_opens_no_training_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_bad: str) -> None:
    monkeypatch.setattr("frostline.data.index.SETTLED_NS", 0)
    sys.addaudithook(_hear)
    made = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        for label in ("dark", "light"):
            folder = tmp_path / "photos" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = made.integers(0, 128, (40, 30, 3), np.uint8) + (127 if label == "light" else 0)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    given = [
        "data=imagefolder",
        f"data.root={tmp_path / 'photos'}",
        "data.size=32",
        f"data.on_bad={on_bad}",
        "augment=none",
        "backbone=timm",
        "backbone.name=test_resnet",
        "backbone.weights=none",
        "freeze=linear_probe",
        "trainer.accelerator=cpu",
        f"outputs={tmp_path / 'outputs'}",
    ]
    cold, first = opened(resolve(compose("run", given)), tmp_path / "photos")
    assert sum("/train/" in path for path in first) >= 16, "the first run reads them"
    # random weights follow the seed, so another run over the same activations differs in something else
    warm, second = opened(resolve(compose("run", [*given, "optimizer.lr=0.002"])), tmp_path / "photos")
    assert cold["id"] != warm["id"] and cold["data"] == warm["data"]
    assert len(warm["data"]["content"]) == 64 and warm["data"]["class_counts"]["train"] == {"dark": 8, "light": 8}
    assert not [path for path in second if "/train/" in path or "/val/" in path], second
