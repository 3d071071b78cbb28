"""What charts are drawn with: elements, estimated widths of text, and a chart as a file of its own."""

import re
import unicodedata
from importlib.resources import files
from xml.etree.ElementTree import Element, SubElement, tostring

from frostline.files.atomic import escape_bytes

WIDE, NARROW = 880, 380  # units of a chart's width, at a desk and on a phone
SIZE = 13.0  # of a letter, in the same units
LINE = 16.0
WIDTHS = {  # in letter sizes, those of a wide typeface (DejaVu Sans), so that in another one texts only get shorter
    **dict.fromkeys("iljI.,:;'|! ", 0.33),
    **dict.fromkeys("()[]{}frt-/\\", 0.41),
    **dict.fromkeys("mwMWO%@=+<>~#&", 0.92),
    **dict.fromkeys("ABCDEFGHJKLNPQRSTUVXYZ", 0.7),
}


def make_legible(text: str) -> str:
    """Return ``text`` with a question mark for every sign that cannot be shown or that XML forbids.

    Bytes of a file's name that are no UTF-8 are shown as escapes.
    """
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" or unicodedata.category(sign) == "Zs" else "?"
        for sign in escape_bytes(text)
    )


def measure_text(text: str, size: float = SIZE) -> float:
    """Return an estimate, on the safe side, of how wide ``text`` is in letters of ``size``."""
    wide = (1.0 if unicodedata.east_asian_width(sign) in "WF" else WIDTHS.get(sign, 0.63) for sign in text)
    return size * sum(wide)


def shorten(text: str, width: float, size: float = SIZE) -> str:
    """Return ``text``, its end replaced by an ellipsis where it is wider than ``width``."""
    if measure_text(text, size) <= width:
        return text
    while text and measure_text(text, size) + size > width:
        text = text[:-1]
    return text + "\u2026"


def make_canvas(width: float, height: float, label: str) -> Element:
    """Return an empty chart; ``label`` says what it is to those who cannot see it."""
    return Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "chart",
            "viewBox": f"0 0 {_number(width)} {_number(height)}",
            "role": "group",
            "aria-label": make_legible(label),
        },
    )


def add(parent: Element, tag: str, kind: str = "", **attributes: str | float) -> Element:
    """Append an element of class ``kind``; underscores in names stand for hyphens, numbers are rounded to 0.01."""
    named = {"class": kind} if kind else {}
    for name, value in attributes.items():
        named[name.replace("_", "-")] = make_legible(value) if isinstance(value, str) else _number(value)
    return SubElement(parent, tag, named)


def write(parent: Element, text: str, kind: str, x: float, y: float, **attributes: str | float) -> Element:
    """Append a text; y is its baseline."""
    element = add(parent, "text", kind, x=x, y=y, **attributes)
    element.text = make_legible(text)
    return element


def add_series(parent: Element, name: str, kind: str) -> Element:
    """Append a group that lights up together with whatever else on the page has this name."""
    group = add(parent, "g", f"series {kind}")
    group.set("data-name", make_legible(name))
    return group


def add_target(parent: Element, name: str, tip: str, kind: str, first: bool = True, named: bool = True) -> Element:
    """Append a group that shows ``tip`` when it is pointed at or focused.

    Only the ``first`` of several that belong together is a stop of the tab key, the arrow keys go on from there.
    ``named``: it lights up as a ``add_series`` does.
    """
    group = add(parent, "g", f"mark {kind}", tabindex="0" if first else "-1", role="img")
    group.set("aria-label", make_legible(f"{name}: {tip}".replace("\n", "; ")))
    group.set("data-tip", make_legible(f"{name}\n{tip}"))
    if named:
        group.set("data-name", make_legible(name))
    add(group, "title").text = make_legible(f"{name}\n{tip}")
    return group


def serialise(root: Element) -> str:
    """Return a chart as text."""
    return tostring(root, encoding="unicode")


def make_standalone(svg: str) -> str:
    """Return a chart as the content of an .svg file: light, on its own ground, its colours written out."""
    templates = files("frostline.report.page") / "templates"
    theme = (templates / "theme.css").read_text(encoding="utf-8").partition("}")[0]
    colours = dict(re.findall(r"(--[\w-]+): light-dark\((#\w+)", theme))
    style = re.sub(
        r"var\((--[\w-]+)\)", lambda found: colours[found[1]], (templates / "chart.css").read_text(encoding="utf-8")
    )
    head, _, body = svg.partition(">")
    _, _, width, height = re.findall(r'viewBox="(.*?)"', head)[0].split()
    ground = f'<rect width="{width}" height="{height}" fill="{colours["--paper"]}"/>'
    return f'{head} width="{width}" height="{height}"><style>{style}</style>{ground}{body}'


def _number(value: float) -> str:
    return f"{round(value, 2):.10g}"
