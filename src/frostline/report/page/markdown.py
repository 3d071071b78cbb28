"""The report as Markdown, with its figures as files beside it and what is folded left to report.html."""

from collections.abc import Iterator, Mapping, Sequence

from frostline.report.page.charts import make_standalone
from frostline.report.page.escaping import LONGEST_PARAGRAPH, escape_markdown, escape_paragraph, without_controls
from frostline.report.page.parts import CodeBlock, Figure, Fold, Page, Part, Pictures, Section, Table, Text, Warn

FOLDER = "figures"


def make_markdown(page: Page) -> tuple[str, Mapping[str, bytes]]:
    """Return report.md's text, and the content of the figures it shows by their path from its folder."""
    figures: dict[str, bytes] = {}
    verdict, *more = page.verdict.split("\n")
    lines = [f"# {escape_markdown(page.title)}\n", f"**{escape_markdown(verdict, LONGEST_PARAGRAPH)}**\n"]
    lines += [f"{escape_paragraph(line)}\n" for line in [*more, page.subtitle] if line]
    for section in page.sections:
        lines += [f"## {escape_markdown(section.title)}\n", *_section(section, figures)]
    return "\n".join(lines), figures


def _section(section: Section, figures: dict[str, bytes]) -> Iterator[str]:
    folded = [part.title for part in section.parts if isinstance(part, Fold)]
    for part in section.parts:
        if not isinstance(part, Fold):
            yield "\n".join(_part(part, section.id, figures)) + "\n"
    if folded:
        yield f"In report.html also: {'; '.join(escape_markdown(title) for title in folded)}.\n"


def _part(part: Part, section: str, figures: dict[str, bytes]) -> Iterator[str]:
    match part:
        case Text(text):
            yield escape_paragraph(text)
        case Warn(text):
            yield f"> **Warning:** {escape_paragraph(text)}"
        case CodeBlock(text):
            yield from (f"    {without_controls(line)}" for line in text.splitlines())
        case Figure(id, caption, svg):
            figures[f"{FOLDER}/{id}.svg"] = make_standalone(svg).encode()
            yield f"![{escape_markdown(caption)}]({FOLDER}/{id}.svg)\n\n{escape_paragraph(caption)}"
        case Table(caption=caption, columns=columns, rows=rows):
            yield from _table(caption, columns, [[cell.text for cell in row] for row in rows])
        case Pictures(caption, items):
            yield f"{escape_paragraph(caption)}\n"
            for place, (picture, said) in enumerate(items):
                path = f"{FOLDER}/{section}-{place:02}.png"
                figures[path] = picture
                yield f"- ![]({path}) {escape_markdown(said)}"
        case Fold():
            raise AssertionError("folds stand in sections, not in parts")


def _table(caption: str, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"{escape_paragraph(caption)}:\n"
    yield f"| {' | '.join(escape_markdown(title) for title, _ in columns)} |"
    yield f"| {' | '.join('---:' if numeric else '---' for _, numeric in columns)} |"
    yield from (f"| {' | '.join(escape_markdown(text) for text in row)} |" for row in rows)
