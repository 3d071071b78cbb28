"""The page shows whatever it is given as text, and lets nothing run or load but what it came with."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from frostline.report.page.charts import Axis, ScatterPoint, draw_scatter
from frostline.report.page.html import make_html
from frostline.report.page.parts import CodeBlock, Fold, Page, Section, Table, TableCell, Text

NASTY = "<script>alert(1)</script>\"' onmouseover=alert(1) x='&amp;{{ 7 * 7 }}</style></svg></title>-->\x00\x1b\ud800"
SHOWN = NASTY[:-3] + "??\\ud800"  # what cannot be shown is a question mark, half a character its escape
TAGS = set(
    "html head meta link title style body a div svg path span nav ul li button header h1 p dl dt dd main section h2 "
    "figure figcaption table caption thead tbody tr th td pre code details summary img footer script strong "
    "g text line rect circle polygon".split()
)
TEMPLATES = files("frostline.report.page") / "templates"
Everything = Callable[[Callable[[str], str]], Page]


class Reader(HTMLParser):
    """Keeps what a page is made of: its tags, attributes and texts."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_nothing_in_a_page_comes_from_its_texts(everything: Everything) -> None:
    read = Reader(make_html(everything(lambda text: text + NASTY)))
    assert set(read.tags) <= TAGS
    assert read.tags.count("script") == read.tags.count("style") == read.tags.count("title") - _titles(read) == 1
    names = {name for name, _ in read.attributes}
    assert not [name for name in names if name.startswith("on") or name in ("style", "srcdoc", "action", "formaction")]
    for name, value in read.attributes:
        assert name != "href" or re.fullmatch(r"#[a-z]+|data:,", value)
        assert name != "src" or value.startswith("data:image/png;base64,")


def _titles(read: Reader) -> int:
    """Return how many charts' marks have a title, which are as many as have a tip."""
    return sum(name == "data-tip" for name, _ in read.attributes)


def test_every_text_is_shown_as_it_is(everything: Everything) -> None:
    page = everything(lambda text: text + NASTY)
    texts = Reader(make_html(page)).texts
    for said in ("A text.", "A warning.", "Results", "strategy", "fine", "frostline compare", "1 for 7", "About cost.",
                 "lp_ft", "And so on.", "8 strategies", "runs", "Folded."):  # fmt: skip
        assert said + SHOWN in [text.strip() for text in texts], said


def test_names_and_tips_of_charts_are_text(everything: Everything) -> None:
    attributes = Reader(make_html(everything(lambda text: text + NASTY))).attributes
    assert "lp_ft" + SHOWN in [value for name, value in attributes if name == "data-name"]
    assert [
        value for name, value in attributes if name == "data-tip" and value.startswith(f"lp_ft{SHOWN}\naccuracy{SHOWN}")
    ]


@pytest.mark.parametrize("tag", ["script", "style"])
def test_the_policy_allows_exactly_what_the_page_holds(everything: Everything, tag: str) -> None:
    content = make_html(everything(str))
    policy = dict(part.strip().split(" ", 1) for part in _policy(content).split(";"))
    found = re.findall(f"<{tag}>(.*?)</{tag}>", content, re.DOTALL)
    assert len(found) == 1
    digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
    assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["img-src"] == "data:"
    assert "unsafe" not in _policy(content)


def _policy(content: str) -> str:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', content)
    assert found
    return found[1].replace("&#39;", "'")


def test_a_page_names_no_address(everything: Everything) -> None:
    addresses = re.findall(r"\b\w+://[^\"'<\s)]+", make_html(everything(str)))
    assert set(addresses) == {"http://www.w3.org/2000/svg"}  # a name, which no browser opens


def test_the_same_page_gives_the_same_bytes(everything: Everything) -> None:
    assert make_html(everything(str)) == make_html(everything(str))


def test_cells_sort_by_their_value_and_have_their_strategys_marker(everything: Everything) -> None:
    content = make_html(everything(str))
    row = re.search(r'<tr data-name="full">.*?</tr>', content, re.DOTALL)
    assert row
    assert re.findall(r'data-value="([^"]*)"', row[0]) == ["", "0.934", "88.0", ""]
    assert row[0].count('<svg class="swatch s3"') == 1
    assert '<tr>\n<th scope="row" data-value="">scratch</th>' in content


def test_a_value_that_is_no_number_sorts_as_text() -> None:
    table = Table("t", "c", [("a", True)], [[TableCell("nan", float("nan"))], [TableCell("inf", float("inf"))]])
    content = make_html(Page("p", "v", [Section("s", "S", [table])]))
    assert re.findall(r'<th scope="row" class="n" data-value="([^"]*)"', content) == ["", "inf"]


def test_folds_hold_folds_and_empty_tables_say_so() -> None:
    inner = Fold("inner", [Table("t", "c", [("a", False)], []), CodeBlock("  two\n\n  lines")])
    content = make_html(Page("p", "", [Section("s", "S", [Fold("outer", [Text("x"), inner])])]))
    assert content.index("outer") < content.index("inner") < content.index("Nothing to show.")
    assert "<code>  two\n\n  lines</code>" in content


def test_what_is_no_chart_does_not_get_in() -> None:
    from frostline.report.page.parts import Figure

    with pytest.raises(AssertionError, match="charts come from report.page.charts"):
        make_html(Page("p", "v", [Section("s", "S", [Figure("f", "c", "<img src=x>")])]))


def test_the_chart_stands_in_the_page_as_it_was_drawn() -> None:
    from frostline.report.page.parts import Figure

    svg = draw_scatter([ScatterPoint("a", 1, 2)], Axis("x"), Axis("y"))
    content = make_html(Page("p", "v", [Section("s", "S", [Figure("f", "c", svg)])]))
    assert svg in content
    assert 'class="narrow"' not in content


def test_templates_ship_with_the_package_and_are_ascii() -> None:
    for name in ("report.html", "parts.html", "theme.css", "chart.css", "report.css", "report.js"):
        assert (TEMPLATES / name).read_text(encoding="utf-8").isascii()


def _colours(scheme: int) -> dict[str, str]:
    theme = (TEMPLATES / "theme.css").read_text(encoding="utf-8")
    pairs = re.findall(r"(--[\w-]+): light-dark\((#\w{6}), (#\w{6})\);", theme)
    return {pair[0]: pair[1 + scheme] for pair in pairs}


def _contrast(first: str, second: str) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.2)."""
    lights = []
    for colour in (first, second):
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_stand_out_in_both_themes(scheme: int) -> None:
    colours = _colours(scheme)
    texts = ["--ink", "--soft", "--ice", *(f"--s{style}" for style in range(8))]
    pairs = [(text, ground) for text in texts for ground in ("--paper", "--raised")]
    pairs += [("--ink", "--warn-ground"), ("--warn", "--warn-ground")]
    pairs += [("--on-pale" if shade < 5 else "--on-deep", f"--h{shade}") for shade in range(9)]
    assert {pair: _contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs if
            _contrast(colours[pair[0]], colours[pair[1]]) < 4.5} == {}  # fmt: skip
    assert _contrast(colours["--strong"], colours["--paper"]) >= 3


def test_the_page_is_one_file(everything: Everything, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(make_html(everything(str)), encoding="utf-8")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert path.stat().st_size < 1_000_000
