"""What stands beside an exported network: how its inputs are made, what its outputs mean, and a program for both."""

import json
import re
from pathlib import Path
from typing import Any

import jinja2

from frostline.data.reading import Reader, Recipe
from frostline.files.atomic import escape_bytes
from frostline.serving.formats import Part
from frostline.serving.restored import Restored

PREPROCESSING, LABELS, EXAMPLE = "preprocessing.json", "labels.json", "example.py"
CODE = ("imports", "plain_imports", "source", "noun", "argument", "file", "needs")
"""What of a template's values is text of our own; the others decide what is written, and stand in it as numbers."""
TEMPLATES = jinja2.ChoiceLoader([jinja2.PackageLoader("frostline.serving"), jinja2.PackageLoader("frostline", ".")])
"""Those of this room, by their names; those of inputs and networks, which stand with these, by their paths."""


class Code(str):
    """Text that may become code: written in this package, and by no config, data set or record."""


def describe(model: Restored, reader: Reader, written: Part, folder: Path) -> None:
    """Write preprocessing.json, labels.json and example.py, and the files that they need."""
    preprocess = reader.preprocess
    recipe = preprocess.describe(folder)
    kind = {"modality": preprocess.modality, "kind": type(preprocess).__name__}
    _write(folder / PREPROCESSING, {**kind, **recipe.wanted})
    _write(folder / LABELS, describe_labels(model))
    (folder / EXAMPLE).write_text(make_program(model, reader, recipe, written))


def describe_labels(model: Restored) -> dict[str, Any]:
    """Return what outputs mean."""
    task = model.task
    return {"network": model.backbone.name, "task": task.name, "classes": model.classes, **task.explain_outputs()}


def make_program(model: Restored, reader: Reader, recipe: Recipe, written: Part) -> str:
    """Return the text of example.py. What is data stands in the files beside it."""
    environment = jinja2.Environment(loader=TEMPLATES, finalize=print_value, trim_blocks=True, lstrip_blocks=True)
    imports = [*recipe.imports, *written["imports"]]
    packages = sorted({"numpy", *(line.split()[1].partition(".")[0] for line in imports)})
    lines = sorted({"import numpy as np", *imports}, key=lambda line: (line.startswith("from"), line.lower()))
    shown = {
        **recipe.values,
        **written,
        "prepare": recipe.template,
        "source": recipe.source,
        "imports": lines,
        "plain_imports": list(recipe.plain_imports),
        "noun": reader.noun,
        "argument": reader.argument,
        "file": EXAMPLE,
        "needs": ", ".join("pillow" if name == "PIL" else name for name in packages),
        "answer": "answers.j2",
        "task": model.task.name,
        "head": type(model.head).__name__,
    }
    shown |= {key: mark_code(shown[key]) for key in CODE if key in shown}
    text = environment.get_template("example.py.j2").render(shown)
    return re.sub("\n{4,}", "\n\n\n", text) + "\n"


def mark_code(value: str | list[str]) -> Code | list[Code]:
    """Return text of our own as what may become code."""
    return Code(value) if isinstance(value, str) else [Code(line) for line in value]


def print_value(value: object) -> str:
    """Return a value as it stands in a program: our own text, and plain numbers. Raises TypeError for any other."""
    if isinstance(value, Code):
        return value
    if type(value) not in (int, float):
        raise TypeError(f"{value!r} is data, and has no place in a program")
    return repr(value)


def _write(path: Path, value: Any) -> None:
    path.write_text(escape_bytes(json.dumps(value, indent=2, ensure_ascii=False)) + "\n", encoding="utf-8")
