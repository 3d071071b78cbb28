"""`frostline profile`: where along its depth a frozen network knows what the data need."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from frostline.api.profiles import ProfileResult, make_profile
from frostline.commands.arguments import parse
from frostline.commands.run import show
from frostline.config.compose import compose, resolve
from frostline.errors import escape_unprintable
from frostline.launchers.progress import Screen
from frostline.profiles.record import PROFILE, SCORES, is_alike, is_better
from frostline.units import NONE, format_interval, format_score

ABOUT = """\
Read a frozen network at every depth, in one pass over train and val: how well a solved probe and nearest neighbours do
on validation at each tap, and several taps joined. Nothing trains and the test split is not looked at. The last line is
the path of profile.json; profile.html beside it shows it."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    args = parse("profile", ABOUT, argv)
    if args.cfg:
        return show("run", args)
    config = resolve(compose("run", args.overrides, args.config_dir))
    command = shlex.join(["frostline", "profile", *(one for one in argv if one not in ("--json", "--debug"))])
    folder = make_profile(config, command, Screen(quiet=args.json))
    content = ProfileResult(folder).content
    if args.json:
        print(json.dumps(content, indent=2))
        return 0
    Console(highlight=False).print(make_table(content))
    print(folder / PROFILE, flush=True)
    return 0


def make_table(content: Mapping[str, Any]) -> Table:
    """Return the profile as a table: a row for each tap, then for each joined head."""
    metric = content["metric"]["title"]
    title = f"{content['backbone']} on {content['data']}: validation {metric}, read frozen at each depth"
    caption = (
        f"* cannot be told from the best tap by these {content['samples']['val']:,} validation samples, + beats it by "
        "more than chance. The best was picked on them, so expect a little less of it elsewhere."
    )
    left = {"title_justify": "left", "caption_justify": "left"}
    packed = {"box": SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(title=escape_unprintable(title), caption=caption, **left, **packed)  # type: ignore[arg-type]
    table.add_column("tap", no_wrap=True, min_width=13)
    for column in ("width", "probe", "95% interval", f"{content['neighbours']}-NN", *SCORES.values()):
        table.add_column(column, justify="right", no_wrap=True)
    for place, tap in enumerate(content["taps"]):
        cells = [_write_number(tap[name]["value"]) for name in SCORES]
        style = "bold" if place == content["best"] else ""
        table.add_row(*_start_row(tap), format_score(tap["neighbours"]["value"]), *cells, style=style)
    table.add_section()
    for one in content["joined"]:
        table.add_row(*_start_row({**one, "name": f"joined: {one['name']}"}))
    return table


def _start_row(one: Mapping[str, Any]) -> list[Text | str]:
    probe = one["probe"]
    spread = NONE if probe["interval"] is None else format_interval(probe["interval"]["low"], probe["interval"]["high"])
    score = f"{format_score(probe['value'])}{'*' if is_alike(probe) else '+' if is_better(probe) else ' '}"
    return [Text(escape_unprintable(one["name"])), f"{one['width']:,}", score, spread]


def _write_number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
