"""The report as one self-contained page: what it may hold, and its HTML."""

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from frostline.report.charts import NARROW, swatch
from frostline.report.charts.svg import legible

TEMPLATES = files("frostline.report") / "templates"
STYLES = ("theme.css", "chart.css", "report.css")


@dataclass(frozen=True)
class Cell:
    """What a table shows in one place; ``value`` is what sorting uses: None and NaN sort as text, after all values."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """``columns`` are (title, numeric); the first cell of a row is its header."""

    id: str
    caption: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Figure:
    """A chart as an <svg>, and the same drawn for a phone where there is one (see ``figure``)."""

    id: str
    caption: str
    svg: str
    narrow: str = ""


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    text: str


@dataclass(frozen=True)
class Warn:
    """One warning."""

    text: str


@dataclass(frozen=True)
class Code:
    """Shown verbatim, with a button that copies it."""

    text: str


@dataclass(frozen=True)
class Pictures:
    """PNG files with what is to be said of each."""

    caption: str
    items: Sequence[tuple[bytes, str]]


@dataclass(frozen=True)
class Fold:
    """Parts behind a title that opens them."""

    title: str
    parts: Sequence["Part"]


Part = Table | Figure | Text | Warn | Code | Pictures | Fold


@dataclass(frozen=True)
class Section:
    """One entry of the table of contents."""

    id: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A whole report.

    ``verdict``: its first line is set large, the others smaller below it. ``facts`` are (figure, what it is), set
    large under the verdict. ``styles`` (name -> style number, as for the charts) puts a strategy's marker beside its
    name in tables.
    """

    title: str
    verdict: str
    sections: Sequence[Section]
    subtitle: str = ""
    facts: Sequence[tuple[str, str]] = ()
    styles: Mapping[str, int] = field(default_factory=dict)


def figure(id: str, caption: str, draw: Callable[..., str]) -> Figure:
    """Return a figure drawn for a desk and for a phone; ``draw`` is a chart's function that lacks only ``width``."""
    return Figure(id, caption, draw(), draw(width=NARROW))


def html(page: Page) -> str:
    """Return the page as one HTML file that opens from disk, loads nothing and runs no script but its own.

    Whatever stands in ``page`` is shown as text, charts apart, which ``report.charts`` escaped. A meta tag forbids
    every script and style but those of the templates, by their hashes.
    """
    style = "\n".join(_template(name) for name in STYLES)
    script = _template("report.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment(page.styles)
        .get_template("report.html")
        .render(page=page, policy=policy, style=Markup(style), script=Markup(script))
    )


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _environment(styles: Mapping[str, int]) -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: legible(value) if type(value) is str else value,
    )
    environment.filters |= {"kind": _kind, "drawn": _drawn, "number": _number, "picture": _picture}
    environment.globals |= {"swatches": {name: Markup(swatch(style)) for name, style in styles.items()}}
    return environment


def _kind(part: Any) -> str:
    return type(part).__name__


def _drawn(svg: str) -> Markup:
    assert svg.startswith("<svg "), "charts come from report.charts, which escapes what they show"
    return Markup(svg)


def _number(value: float | None) -> str:
    """Return what a cell sorts by, nothing where that is its text."""
    return "" if value is None or math.isnan(value) else repr(float(value))


def _picture(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
