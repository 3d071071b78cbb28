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

from frostline.advice.candidates import Inquiry, make_inquiry
from frostline.advice.race import Racer
from frostline.api.advice import find_advice_folder, plan_advice, run_advice
from frostline.commands.arguments import parse
from frostline.commands.run import show
from frostline.errors import escape_unprintable
from frostline.launchers.progress import Screen
from frostline.units import format_duration

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
    if args.plan:
        return show_plan(inquiry, began)
    command = shlex.join(["frostline", "advise", *(one for one in argv if one not in ("--debug", "--json"))])
    answer = run_advice(inquiry, command, Screen(quiet=args.json), began)
    print_advice(find_advice_folder(inquiry) / "advice.html", args.json)
    return 0 if answer is not None else 1


def show_plan(inquiry: Inquiry, began: float) -> int:
    """Print who would race and about what each takes, in the order of what that is; run nothing and write nothing."""
    race, reading = plan_advice(inquiry, Screen(), began)
    columns = [("candidate", False), ("epochs", True), ("there", True), ("an epoch", True), ("to its end", True)]
    rows = [
        [one.name, str(one.epochs), str(one.done), *(f"~ {format_duration(each, 0)}" for each in find_costs(one))]
        for one in sorted(race.racers, key=lambda one: one.find_cost(one.epochs))
    ]
    console = Console(highlight=False)
    console.print(make_table(columns, rows))
    left = inquiry.within
    console.print(
        f"{format_duration(left, 0)} in all. Reading the frozen network takes about {format_duration(reading, 0)}; "
        "the cheapest goes first, and who goes on after it depends on what it comes to."
    )
    return 0


def find_costs(one: Racer) -> tuple[float, float]:
    """Return about the seconds of an epoch, and of all that is left."""
    return (0.0 if one.solved == one.epochs else one.seconds), (0.0 if one.ended else one.find_cost(one.epochs))


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
