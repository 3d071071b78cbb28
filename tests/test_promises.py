"""docs/promises.md says which test shows each promise; here it is held to what tests there are."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/promises.md").read_text().splitlines()
    if re.match(r"\| *\d+ *\|", line)
]
NAME = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def functions_of(path: Path) -> dict[str, ast.FunctionDef]:
    """Return the test functions at the top of a module."""
    return {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_promise_stands_there_once() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 49))
    assert all(len(row) == 4 and all(row) for row in ROWS), "number, fault, promise, tests"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_named_test_exists_and_can_fail(row: list[str]) -> None:
    named = NAME.findall(row[3])
    assert named, f"no test shows promise {row[0]}"
    assert row[3].count("`") == 2 * len(named), f"a name in row {row[0]} has not the form `tests/x.py::test_y`"
    for file, name in named:
        tests = functions_of(ROOT / file)
        assert name in tests, f"promise {row[0]}: {file} has no {name}"
        assert any(isinstance(node, ast.Assert | ast.With) for node in ast.walk(tests[name])), f"{name} asserts nothing"
        decorators = [ast.unparse(one) for one in tests[name].decorator_list]
        assert not any("xfail" in one or ".skip(" in one for one in decorators), f"{name} is not run"
