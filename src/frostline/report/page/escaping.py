"""Untrusted text made harmless: in Markdown and TeX it stays text."""

import re

from frostline.files.atomic import escape_bytes

ENTITIES = {sign: f"&#{ord(sign)};" for sign in "\\`*|[]~$#"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
TEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "\\textquotedbl{}",
    "`": "\\textasciigrave{}",
    "-": "{-}",  # so that two are no dash
    "[": "{[}",  # after a line's end it would be an option of it
    "]": "{]}",
    "*": "{*}",
}
LONGEST = 500  # letters of a name or value
LONGEST_PARAGRAPH = 10_000


def without_controls(line: str) -> str:
    """Return a line with a question mark for every sign that a terminal would obey or could not show."""
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def escape_line(value: object, most: int = LONGEST) -> str:
    """Return ``value`` as one line of printable characters, at most so many of them.

    Bytes of a file's name that are no UTF-8 are shown as escapes, so that different names stay different.
    """
    line = " ".join(escape_bytes(str(value)).split())
    line = without_controls(line)
    return line if len(line) <= most else f"{line[: most - 3]}..."


def escape_markdown(value: object, most: int = LONGEST) -> str:
    """Return ``value`` as Markdown that shows it within a line and does nothing: no markup, link, border or HTML.

    Signs become HTML entities, which CommonMark never reads as structure.
    """
    text = "".join(ENTITIES.get(sign, sign) for sign in escape_line(value, most))
    text = re.sub(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", "&#95;", text)
    return text.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def escape_paragraph(value: object) -> str:
    """Return ``value`` as a Markdown paragraph of its own: no heading, list or rule either."""
    text = escape_markdown(value, LONGEST_PARAGRAPH)
    return re.sub(r"^([-+](?=\s|-|$)|=|\d(?=\d*[.)](\s|$)))", lambda found: f"&#{ord(found[1])};", text)


def escape_tex(value: object) -> str:
    """Return ``value`` as TeX that shows it and does nothing: no command, comment, alignment or mathematics.

    Letters beyond ASCII need an engine or fonts that have them.
    """
    return "".join(TEX.get(sign, sign) for sign in escape_line(value))
