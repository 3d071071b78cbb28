"""Untrusted text made harmless: in Markdown it stays text, in a CSV cell it stays no formula."""

import re

ENTITIES = {sign: f"&#{ord(sign)};" for sign in "\\`*|[]~$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
LONGEST = 500


def plain(value: object) -> str:
    """Return ``value`` as one line of printable characters, at most 500 of them."""
    line = " ".join(str(value).split())
    line = "".join(sign if sign.isprintable() else "?" for sign in line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def markdown(value: object) -> str:
    """Return ``value`` as Markdown that shows it and does nothing: no markup, link, table border or HTML.

    Signs become HTML entities, which by CommonMark never take part in structure.
    """
    text = "".join(ENTITIES.get(sign, sign) for sign in plain(value))
    text = re.sub(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", "&#95;", text)
    return text.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def cell(value: object) -> str | int | float:
    """Return ``value`` for a CSV cell: numbers as they are, a quote before text that would run as a formula."""
    if isinstance(value, int | float):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) is not None
