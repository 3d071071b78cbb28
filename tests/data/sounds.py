"""Small sound files for tests: tones, of which each class has its own."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from frostline.backbones.chains.speech import INSTALL, PACKAGE
from frostline.commands.doctor import is_installed

RATE = 8000
LETTERS = {"a": 300.0, "b": 700.0, "c": 1500.0}
VOICE = ["backbone=voice_encoder", "backbone.weights=none", "trainer.accelerator=cpu", "data=audiofolder"]

needs_voice = pytest.mark.skipif(not is_installed(PACKAGE), reason=f"needs the weights of voice_encoder: {INSTALL}")


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE, seed: int = 0) -> NDArray[np.float32]:
    """Return a tone with a little noise, of which each seed makes another."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * hertz * (time + random.random()))
    return (wave + random.normal(0, 0.01, len(time))).astype(np.float32)


def write(path: Path, wave: NDArray[np.float32], rate: int = RATE) -> Path:
    import soundfile  # here, where a test that needs it is skipped without it

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate)
    return path


def folders(root: Path, count: int = 4, seconds: float = 0.5) -> Path:
    """Write train, val and test of two classes, ``count`` recordings each, and return the root."""
    for split in ("train", "val", "test"):
        for label, hertz in (("high", 1500.0), ("low", 300.0)):
            for index in range(count):
                seed = [*f"{split}{label}{index}".encode()]
                write(root / split / label / f"{index}.wav", tone(hertz, seconds, seed=sum(seed)))
    return root


def spellings(root: Path, count: int = 100) -> Path:
    """Write recordings in which each letter is a tone, and a table of what they spell; return the table."""
    random, table = np.random.default_rng(0), ["path,text,split"]
    for index in range(count):
        text = "".join(random.choice([*LETTERS], size=random.integers(2, 5)))
        pieces = [np.concatenate([tone(LETTERS[one], 0.12), tone(0.0, 0.05)]) for one in text]
        write(root / f"{index}.wav", np.concatenate(pieces))
        table.append(f"{index}.wav,{text},{('train', 'train', 'train', 'val', 'test')[index % 5]}")
    (root / "texts.csv").write_text("\n".join(table))
    return root / "texts.csv"
