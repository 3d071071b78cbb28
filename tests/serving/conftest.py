"""Small runs of every modality, made once, and what their exports say in a process that has no Frostline."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.finished_runs import finished
from tests.sequences import save_bert, write_texts

from frostline.config.compose import compose, resolve
from frostline.results.store import run_folder, run_id

Make = Callable[..., Path]
Alone = Callable[[Path, Sequence[str]], list[dict[str, Any]]]
SIZES = ((40, 30), (33, 61), (32, 32))
HERTZ = {"high": 1500.0, "low": 300.0}


def trained(outputs: Path, *overrides: str) -> Path:
    """Make a run of one epoch and return its folder."""
    given = ["epochs=1", "trainer.accelerator=cpu", "freeze=full", f"outputs={outputs}", *overrides]
    config = resolve(compose("run", given))
    folder = run_folder(outputs, run_id(config))
    return folder if folder.is_dir() else finished(config)[1]


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="session")
def pictures(room: Path) -> Path:
    """Folders of pictures of two classes, of many sizes and kinds, and a table of them with tags and numbers."""
    made = np.random.default_rng(0)
    rows = ["path,tags,number,split"]
    for split in ("train", "val", "test"):
        for place in range(6):
            label = "ab"[place % 2]
            path = room / "pictures" / split / label / f"{place}.{'png' if place % 3 else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            width, height = SIZES[place % 3]
            pixels = made.integers(0, 128, (height, width, 3), np.uint8) + np.uint8(100 * (place % 2))
            Image.fromarray(pixels).convert("P" if place == 4 else "RGB").save(path)
            rows.append(
                f"{path.relative_to(room / 'pictures')},{'x;y' if place % 2 else 'x' if place else ''},{place},{split}"
            )
    (room / "pictures" / "table.csv").write_text("\n".join(rows) + "\n")
    return room / "pictures"


@pytest.fixture(scope="session")
def image_run(room: Path, pictures: Path) -> Path:
    network = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "data.size=32"]
    return trained(room / "outputs", "data=imagefolder", f"data.root={pictures}", *network)


@pytest.fixture(scope="session")
def tagged(room: Path, pictures: Path) -> Make:
    """Make a run on the table of pictures, for a task."""
    network = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "data.size=32"]
    given = ["data=csv", f"data.manifest={pictures / 'table.csv'}", *network]
    return lambda *overrides: trained(room / "outputs", *given, *overrides)


@pytest.fixture(scope="session")
def bert(room: Path) -> Path:
    return save_bert(room / "bert")


@pytest.fixture(scope="session")
def texts(room: Path) -> Path:
    return write_texts(room / "texts")


@pytest.fixture(scope="session")
def text_run(room: Path, texts: Path, bert: Path) -> Path:
    network = ["backbone=transformers", f"backbone.name={bert}", "data.tokens=12"]
    return trained(room / "outputs", "data=text_csv", f"data.root={texts}", *network, "freeze=last_k", "freeze.k=1")


@pytest.fixture(scope="session")
def sounds(room: Path) -> Path:
    """Folders of tones of two classes, at a rate that no network wants, and a table of what is said in them."""
    import soundfile  # here, where a test that needs it is skipped without it

    rows = ["path,said,split"]
    for split in ("train", "val", "test"):
        for label, hertz in HERTZ.items():
            for place in range(3):
                made = np.random.default_rng([place, len(split), len(label)])
                time = np.arange(round((0.3 + 0.1 * place) * 8000)) / 8000
                wave = 0.3 * np.sin(2 * np.pi * hertz * time) + made.normal(0, 0.01, len(time))
                path = room / "sounds" / split / label / f"{place}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, wave.astype(np.float32), 8000)
                rows.append(f"{path.relative_to(room / 'sounds')},{label[:2]},{split}")
    (room / "sounds" / "table.csv").write_text("\n".join(rows) + "\n")
    return room / "sounds"


@pytest.fixture(scope="session")
def speech_run(room: Path, sounds: Path) -> Path:
    network = ["backbone=voice_encoder", "backbone.weights=none", "data.seconds=0.4"]
    return trained(room / "outputs", "data=audiofolder", f"data.root={sounds}", *network)


@pytest.fixture(scope="session")
def alone() -> Alone:
    """Run an export's example on samples, in a process that cannot import Frostline; return what it says of each."""

    def run(folder: Path, samples: Sequence[str]) -> list[dict[str, Any]]:
        program = "import runpy, sys; sys.modules['frostline'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
        program = program.replace("sys.argv[0]", repr(str(folder / "example.py")))
        done = subprocess.run(
            [sys.executable, "-c", program, *samples],
            text=True,
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line[line.index("{") :]) for line in done.stdout.splitlines()]

    return run
