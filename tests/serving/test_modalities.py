"""Those who serve a network know no modality: a new one is files in data and backbones alone."""

import ast
from pathlib import Path

import pytest

import frostline

PACKAGE = Path(frostline.__file__).parent
SERVING = [
    *sorted((PACKAGE / "serving").glob("*.py")),
    *(PACKAGE / f"commands/{name}.py" for name in ("predict", "export")),
]
ROOMS = sorted(folder.name for folder in (PACKAGE / "data").iterdir() if (folder / "__init__.py").is_file())
WORDS = {"image", "text", "speech"}


@pytest.mark.parametrize("path", SERVING, ids=lambda path: path.name)
def test_it_is_named_nowhere(path: Path) -> None:
    assert WORDS <= set(ROOMS)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert not any(node.module.startswith(f"frostline.data.{room}") for room in ROOMS), node.module
        if isinstance(node, ast.Constant):
            assert node.value not in WORDS, f"line {node.lineno}"
