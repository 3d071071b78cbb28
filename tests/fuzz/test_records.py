"""Records of any shape, as a stranger or a failing disk may leave them: named or shown, never obeyed."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.configs import plain_run
from tests.finished_runs import finished

from frostline.commands import main
from frostline.commands.run import report_outcome
from frostline.config.compose import compose, resolve
from frostline.errors import UserError
from frostline.launchers.dispatch import find_outcome

CANARY = "frostline-canary"
DEEP = json.loads("[" * 200 + "]" * 200)
HOSTILE = [
    None,
    True,
    -1,
    2.5,
    10**18,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "done",
    "x" * 3000,
    "\ud800",
    "\x1b[2J\x1b]0;t\x07",
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "=cmd|' /C calc'!A0",
    "[red]x[/blue]",
    "../../../../etc/passwd",
    "/dev/zero",
    "a\0b",
    [],
    {},
    [[]],
    [{}],
    {"": None},
    {"a": {"b": [1, "c"]}},
    {"_target_": "os.system", "command": f"touch {CANARY}"},
    {"_target_": "pathlib.Path.touch", "self": CANARY},
    DEEP,
]


def examples(number: int) -> Callable[[Any], Any]:
    """Bound a test: what it finds is written down as an example of its own, not in a folder of Hypothesis's."""
    unhealthy = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    phases = [Phase.explicit, Phase.generate]  # to shrink takes minutes
    return settings(deadline=None, database=None, max_examples=number, phases=phases, suppress_health_check=unhealthy)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[Any], Any]:
    """Changes of a record: a place in it is replaced, removed, renamed or added to, once or a few times."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["replace", "replace", "remove", "rename", "add"]),
                st.integers(0, 10**6),
                st.sampled_from(HOSTILE),
                st.sampled_from([one for one in HOSTILE if isinstance(one, str)]),
            ),
            min_size=1,
            max_size=3,
        )
    )

    def change(record: Any) -> Any:
        record = copy.deepcopy(record)
        for how, number, drawn, name in steps:
            value = copy.deepcopy(drawn)  # later steps may change what is put here, and must not change the list above
            places = [*spots(record)]
            if not places:
                return record
            holder, key = places[number % len(places)]
            if how == "remove":
                del holder[key]
            elif how == "rename" and isinstance(holder, dict):
                holder[name] = holder.pop(key)
            elif how == "add" and isinstance(holder, dict):
                holder[name] = value
            else:
                holder[key] = value
        return record

    return change


def spots(value: Any, levels: int = 12) -> Iterator[tuple[Any, Any]]:
    """Yield each place of a value, as what holds it and its key; a long list's first ones and so many levels only."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, one in list(inner):
        yield value, key
        if levels:
            yield from spots(one, levels - 1)


class Parsed(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with one real run, of which this module's tests make others."""
    outputs = tmp_path_factory.mktemp("intact")
    tiny = ["data=digits", "data.num_per_class=5", "data.size=32", "epochs=1", "trainer.accelerator=cpu"]
    network = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none", "freeze=full"]
    finished(resolve(compose("run", [*tiny, *network, f"outputs={outputs}"])))
    return outputs


@pytest.fixture
def outputs(intact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it in which the run is there twice: `sound`, and `odd`, whose record is to be changed."""
    monkeypatch.chdir(tmp_path)
    (run,) = (intact / "runs").iterdir()
    for name in ("sound", "odd"):
        shutil.copytree(run, tmp_path / "out" / "runs" / name)
    return tmp_path / "out"


def written(outputs: Path, change: Callable[[Any], Any]) -> Any:
    """Change the record of the odd run; return it."""
    record = change(json.loads((outputs / "runs" / "sound" / "record.json").read_text()))
    (outputs / "runs" / "odd" / "record.json").write_text(json.dumps(record))
    return record


def run(*arguments: object) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed: nothing that commands a terminal."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as error:
        code = main([*map(str, arguments)])
    said = error.getvalue().strip()
    assert code in (0, 2) and "Traceback" not in said
    assert all(line.isprintable() for line in (out.getvalue() + said).splitlines())
    assert code == 0 or (said.startswith("frostline: ") and len(said.splitlines()) == 1)
    return code, out.getvalue()


@examples(200)
@given(mutations())
def test_a_list_shows_all_runs_and_others_take_a_record_or_name_it(outputs: Path, change: Callable[[Any], Any]) -> None:
    """Promises 43 and 47."""
    record = written(outputs, change)
    code, said = run("list", outputs)
    assert code == 0 and len(said.splitlines()) == 4, "a head, two runs, a count"
    code, said = run("list", outputs, "--json", "--sort", "score")
    statuses = {row["id"]: row["status"] for row in map(json.loads, said.splitlines())}
    assert code == 0 and statuses.keys() == {"sound", "odd"} and statuses["sound"] == "done"
    config = plain_run(force=False, seed=0)
    try:
        known = find_outcome(config, outputs / "runs" / "odd")
    except UserError as error:
        assert "odd/record.json: this is no record of a run (" in str(error)
    else:
        assert (known is not None) == (record["status"] in ("done", "diverged"))
        if known is not None:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as error:
                report_outcome(known)
            assert error.getvalue().rstrip("\n").isprintable()
    assert [path.name for path in Path().iterdir()] == ["out"]


@examples(35)
@given(mutations())
def test_a_report_shows_the_rest_and_nothing_in_it_is_live(outputs: Path, change: Callable[[Any], Any]) -> None:
    """Promises 29, 43 and 47."""
    written(outputs, change)
    code, _ = run("report", outputs / "runs", "--out", "report")
    assert code == 0
    page = Parsed(Path("report/report.html").read_text())
    assert page.elements.count("script") == 1 and "iframe" not in page.elements
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    links = [value or "" for name, value in page.attributes if name in ("src", "href")]
    assert not [value for value in links if not value.startswith(("#", "data:image/png;base64,", "data:,"))]
    assert "<script" not in Path("report/report.md").read_text()
    assert {path.name for path in Path().iterdir()} == {"out", "report"}, "nothing is written anywhere else"


@examples(80)
@given(mutations())
def test_predict_takes_a_record_or_names_what_is_wrong(outputs: Path, change: Callable[[Any], Any]) -> None:
    """Promise 47."""
    written(outputs, change)
    Image.new("L", (8, 8)).save("a.png")
    run("predict", outputs / "runs" / "odd", "a.png")
    assert {path.name for path in Path().iterdir()} == {"out", "a.png"}, "nothing is written, nothing is executed"
