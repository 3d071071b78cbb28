"""What a report's page is made of: sections of tables, figures and texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from frostline.report.page.charts import NARROW


@dataclass(frozen=True)
class TableCell:
    """What a table shows in one place; ``value`` is what sorting uses: None and NaN sort as text, after all values."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """``columns`` are (title, numeric); the first cell of a row is its header."""

    id: str
    caption: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[TableCell]]


@dataclass(frozen=True)
class Figure:
    """A chart as an <svg>, and the same drawn for a phone where there is one (see ``make_figure``)."""

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
class CodeBlock:
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


Part = Table | Figure | Text | Warn | CodeBlock | Pictures | Fold


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


def make_figure(id: str, caption: str, draw: Callable[..., str]) -> Figure:
    """Return a figure drawn for a desk and for a phone; ``draw`` is a chart's function that lacks only ``width``."""
    return Figure(id, caption, draw(), draw(width=NARROW))
