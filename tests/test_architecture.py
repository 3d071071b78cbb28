"""The policies of the house: imports run one way, files and functions stay small, the start is quick."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "frostline"
# Each layer with what it is. A module imports only from its own room, and from rooms of the layers above its own here.
LAYERS = {
    "a user's mistake as a sentence, numbers with their units; processes": (
        "errors",
        "ranges",
        "units",
        "intervals",
        "processes",
    ),
    "files: whole or absent": ("files",),
    "what is asked of the labels, and what is to train: plain data": ("tasks", "freeze"),
    "from overrides to one typed, checked config": ("config",),
    "which rank this is, and what ranks exchange": ("ranks",),
    "samples: read, divided, put in order": ("data",),
    "the network: pretrained layers, and new ones": ("backbones", "heads"),
    "what is computed once of the frozen layers": ("features",),
    "how a phase is trained, and what a run leaves behind": ("training", "results"),
    "one run: the only builder, and the story from data to record; what frozen features are worth": ("runs", "profile"),
    "where runs are executed": ("launchers",),
    "what is made of runs": ("report", "serving", "comparison", "tuning"),
    "what people call from Python": ("api",),
    "what people call from a shell": ("commands",),
    "the program": ("__main__",),
}
ORDER = {name: place for place, names in enumerate(LAYERS.values()) for name in names}
HEAVY = {"torch", "torchvision", "timm", "pytorch_lightning", "lightning", "torchmetrics", "sklearn", "matplotlib"}
LIGHT = {"errors", "ranges", "units", "processes", "files", "config", "results"}
LIGHT |= {"launchers", "comparison", "tuning", "commands"}
TRAINS = ("imports.py",)  # modules of a process that trains
SOURCES = sorted(path for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """Return the room of a module: the first name below the package."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST) -> set[str]:
    """Return the modules that a tree imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def at_module_level(path: Path) -> set[str]:
    """Return the top packages that a module imports when it is imported itself."""
    body = ast.parse(path.read_text()).body
    plain = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name.partition(".")[0] for node in plain for name in imports(node)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in ORDER, f"{here} has no place in the order of the rooms"
    for name in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "frostline" or parts[1] == "__version__":
            continue
        assert parts[1] == here or ORDER[parts[1]] < ORDER[here], f"{here} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_starts_the_program_imports_nothing_heavy(path: Path) -> None:
    if room(path) in LIGHT and path.name not in TRAINS:
        assert not at_module_level(path) & HEAVY


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text)), "a module says in a sentence what it is"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_a_drawer_for_anything(path: Path) -> None:
    assert not set(path.relative_to(ROOT).with_suffix("").parts) & {
        "utils",
        "util",
        "helpers",
        "helper",
        "common",
        "misc",
    }


def test_text_files_are_ascii_and_name_no_package_index() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    paths = listed.stdout.splitlines()
    assert paths
    hosts = re.compile("|".join(["py" + r"pi\.org", "python" + r"hosted", r"index-" + "url", "npm" + r"js\.(org|com)"]))
    for path in paths:
        content = (ROOT / path).read_bytes() if (ROOT / path).is_file() else b""
        if b"\0" in content:  # a picture
            continue
        text = content.decode()
        assert text.isascii() or Path(path).suffix in (".svg", ".csv"), path
        assert not hosts.search(text), path
