"""`frostline advise`: what to freeze, answered in the time that it is given."""

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from frostline.advice.candidates import make_inquiry
from frostline.api.advice import find_advice_folder, run_advice
from frostline.commands.arguments import parse
from frostline.commands.run import show
from frostline.errors import escape_unprintable
from frostline.launchers.progress import Screen

ABOUT = """\
Candidates race on validation for as long as advise.within says; the best is tested, once. The last line is the path of
the page; advice.md and advice.json beside it say the same."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 where there is no answer."""
    began = time.monotonic()
    args = parse("advise", ABOUT, argv)
    if args.cfg:
        return show("advise", args)
    inquiry = make_inquiry(args.overrides, args.config_dir)
    command = shlex.join(["frostline", "advise", *(one for one in argv if one not in ("--debug", "--json"))])
    answer = run_advice(inquiry, command, Screen(quiet=args.json), began)
    print_advice(find_advice_folder(inquiry) / "advice.html", args.json)
    return 0 if answer is not None else 1


def print_advice(page: Path, as_json: bool = False) -> None:
    """Print an advice, by the path of its page: the answer, the price list, the path; or what advice.json says."""
    from frostline.report import read_advice, write_advice_lines

    advice = read_advice(page.parent)
    if as_json:
        print(json.dumps(advice.content, indent=2))
        return
    console = Console(highlight=False)
    lines, columns, rows = write_advice_lines(advice)
    for line in lines:
        console.print(Text(escape_unprintable(line)))
        console.print()
    console.print(make_table(columns, rows))
    print(page, flush=True)


def make_table(columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> Table:
    """Return the price list as a table; ``columns`` are (title, numeric)."""
    packed = {"box": SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(**packed)  # type: ignore[arg-type]
    for place, (title, numeric) in enumerate(columns):
        table.add_column(title, justify="right" if numeric else "left", no_wrap=numeric or place == 0)
    for row in rows:
        table.add_row(*(Text(escape_unprintable(text)) for text in row))
    return table
