"""What stands beside an exported network: how its inputs are made, what its outputs mean, and a program for both."""

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from frostline.data.image import viewing
from frostline.data.inputs import Pixels
from frostline.data.speech.mel import COMPRESSIONS, FLOOR, KALDI_FLOOR, PREEMPHASIS, WHISPER_RANGE, Mel, filters
from frostline.data.speech.sound import MARGIN
from frostline.data.text.rendering import SPACING, Rendered, wrapped
from frostline.data.text.tokens import Tokens
from frostline.files.atomic import escaped
from frostline.serving.formats import Part
from frostline.serving.reading import pixels
from frostline.serving.restored import Restored
from frostline.tasks.multilabel import Multilabel

PREPROCESSING, LABELS, EXAMPLE = "preprocessing.json", "labels.json", "example.py"
ARGUMENTS = {"image": ("images", "FILE"), "text": ("texts", "TEXT"), "speech": ("sounds", "FILE")}
IMAGE = "from PIL import Image"
CODE = ("imports", "plain_imports", "source", "noun", "argument", "file", "needs")
"""What of a template's values is text of our own; the others decide what is written, and stand in it as numbers."""
assert COMPRESSIONS == ("none", "log", "whisper")  # those that the template of mel frames knows


class Code(str):
    """Text that may become code: written in this package, and by no config, data set or record."""


def describe(model: Restored, written: Part, folder: Path) -> None:
    """Write preprocessing.json, labels.json and example.py, and the files that they need."""
    wanted, part = preprocessing(model, folder)
    _write(folder / PREPROCESSING, wanted)
    _write(folder / LABELS, labels(model))
    (folder / EXAMPLE).write_text(program(model, {**part, **written}, [*part["imports"], *written["imports"]]))


def preprocessing(model: Restored, folder: Path) -> tuple[dict[str, Any], Part]:
    """Return how inputs are made, and the part of the example that makes them."""
    preprocess = model.backbone.preprocess
    wanted: dict[str, Any] = {"modality": preprocess.modality, "kind": type(preprocess).__name__}
    part: Part = {"imports": [], "plain_imports": []}
    if isinstance(preprocess, Pixels):
        wanted |= pixels(model).recipe
        own = inspect.getsource(viewing).partition(IMAGE)[2].strip()
        return wanted, part | {"prepare": "pixels.j2", "imports": [IMAGE], "source": own}
    if isinstance(preprocess, Tokens):
        (folder / "tokenizer.json").write_text(preprocess.tokenizer, encoding="utf-8")
        wanted |= {"size": preprocess.size, "tokenizer": "tokenizer.json"}
        return wanted, part | {"prepare": "tokens.j2", "imports": ["from tokenizers import Tokenizer"]}
    wanted |= asdict(preprocess)  # type: ignore[call-overload]
    if isinstance(preprocess, Rendered):
        wanted |= {"lines": preprocess.lines, "spacing": SPACING}
        source = inspect.getsource(wrapped).replace(
            ": str, measure: Callable[[str], float], width: int)", ", measure, width)"
        )
        source = source.replace(" -> Iterator[str]:", ":")
        return wanted, part | {
            "prepare": "rendered.j2",
            "imports": ["from PIL import Image, ImageDraw, ImageFont"],
            "source": source.rstrip(),
        }
    if preprocess.modality == "text":
        return wanted, part | {"prepare": "characters.j2"}
    sound = part | {"prepare": "waves.j2", "plain_imports": ["import math"], "margin": MARGIN, "kind": wanted["kind"]}
    sound["imports"] = ["import soundfile", "import soxr"]
    return wanted, sound | (_mel(preprocess, folder) if isinstance(preprocess, Mel) else {})


def _mel(preprocess: Mel, folder: Path) -> Part:
    """Write the filters of mel bands; return what the example must know of frames."""
    high = preprocess.high or preprocess.rate / 2
    bank = filters(preprocess.rate, preprocess.fft, preprocess.bands, preprocess.low, high, preprocess.kaldi)
    np.save(folder / "filters.npy", bank.numpy())
    return {
        "kaldi": preprocess.kaldi,
        "reflect": preprocess.reflect,
        "compression": preprocess.compression,
        "floor": KALDI_FLOOR if preprocess.kaldi else FLOOR[preprocess.compression],
        "preemphasis": PREEMPHASIS,
        "range": WHISPER_RANGE,
    }


def labels(model: Restored) -> dict[str, Any]:
    """Return what outputs mean."""
    found = {"network": model.backbone.name, "task": model.task.name, "classes": model.classes, **model.task.known()}
    if isinstance(model.task, Multilabel):
        found["threshold"] = model.task.threshold
    return found


def program(model: Restored, parts: Mapping[str, Any], imports: list[str]) -> str:
    """Return the text of example.py. What is data stands in the files beside it."""
    noun, argument = ARGUMENTS[model.backbone.preprocess.modality]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("frostline.serving"), finalize=printed, trim_blocks=True, lstrip_blocks=True
    )
    packages = sorted({"numpy", *(line.split()[1].partition(".")[0] for line in imports)})
    lines = sorted({"import numpy as np", *imports}, key=lambda line: (line.startswith("from"), line.lower()))
    shown = {
        **parts,
        "imports": lines,
        "noun": noun,
        "argument": argument,
        "file": EXAMPLE,
        "needs": ", ".join("pillow" if name == "PIL" else name for name in packages),
        "answer": "answers.j2",
        "task": model.task.name,
        "head": type(model.head).__name__,
    }
    shown |= {key: coded(shown[key]) for key in CODE if key in shown}
    text = environment.get_template("example.py.j2").render(shown)
    return re.sub("\n{4,}", "\n\n\n", text) + "\n"


def coded(value: str | list[str]) -> Code | list[Code]:
    """Return text of our own as what may become code."""
    return Code(value) if isinstance(value, str) else [Code(line) for line in value]


def printed(value: object) -> str:
    """Return a value as it stands in a program: our own text, and plain numbers. Raises TypeError for any other."""
    if isinstance(value, Code):
        return value
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is data, and has no place in a program")
    return repr(value)


def _write(path: Path, value: Any) -> None:
    path.write_text(escaped(json.dumps(value, indent=2, ensure_ascii=False)) + "\n", encoding="utf-8")
