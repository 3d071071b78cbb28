"""A report's page as one HTML file that needs nothing else."""

import base64
import hashlib
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from frostline.report.page.charts import draw_swatch
from frostline.report.page.charts.svg import make_legible
from frostline.report.page.parts import Page

TEMPLATES = files("frostline.report.page") / "templates"
STYLES = ("theme.css", "chart.css", "report.css")


def make_html(page: Page) -> str:
    """Return the page as one HTML file that opens from disk, loads nothing and runs no script but its own.

    Whatever stands in ``page`` is shown as text, charts apart, which ``report.page.charts`` escaped. A meta tag forbids
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
        finalize=lambda value: make_legible(value) if type(value) is str else value,
    )
    environment.filters |= {"kind": _kind, "drawn": _embed_chart, "number": _number, "picture": _picture}
    environment.globals |= {"swatches": {name: Markup(draw_swatch(style)) for name, style in styles.items()}}
    return environment


def _kind(part: Any) -> str:
    return type(part).__name__


def _embed_chart(svg: str) -> Markup:
    assert svg.startswith("<svg "), "charts come from report.page.charts, which escapes what they show"
    return Markup(svg)


def _number(value: float | None) -> str:
    """Return what a cell sorts by, nothing where that is its text."""
    return "" if value is None or math.isnan(value) else repr(float(value))


def _picture(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
