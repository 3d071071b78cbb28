"""The price list: for each price in seconds the best that it buys, with what was not run."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from frostline.report.page.advice.words import group_names, join_words
from frostline.report.page.charts import Axis, ScatterPoint, Waiting, draw_scatter
from frostline.report.page.parts import Figure, Part, Section, Table, TableCell, Text, make_figure
from frostline.report.page.sections.limits import MOST_DRAWN, MOST_ROWS
from frostline.report.read.advice import Advice, Unrun
from frostline.units import NONE, format_count, format_duration, format_interval, format_score

BUYS = "the best so far"


def make_prices(advice: Advice, styles: Mapping[str, int]) -> Section:
    """Return the picture of scores against seconds, and the table."""
    parts: list[Part] = [*_picture(advice, styles), _table(advice), Text(_say_what_prices_are())]
    return Section("prices", "What each price buys", parts)


def _picture(advice: Advice, styles: Mapping[str, int]) -> Iterator[Figure]:
    level, title = f"{advice.level:.0%}", advice.metric.title
    drawn = [one for one in advice.ranked[:MOST_DRAWN] if one["seconds"] > 0]
    if not drawn:
        return
    points = [_point(one) for one in drawn]
    front = [one["name"] for one in list_steps(advice)]
    waiting = list(_waiting(advice.unrun[:MOST_DRAWN]))
    axes = Axis("seconds in this race", log=True), Axis(f"validation {title}")
    caption = (
        f"Validation {title} against the seconds that it took, with {level} intervals by the chance of the validation "
        f"samples; the line is {BUYS} for each price."
    )
    if waiting:
        caption += " Hollow, on the axis: not run, at the time that it was foretold to take; its score is not known."
    draw = partial(draw_scatter, points, *axes, front, styles, waiting, BUYS)
    yield make_figure("price-list", caption, draw)


def _point(one: Mapping[str, Any]) -> ScatterPoint:
    spread = one["interval"] or {}
    tip = [f"{one['done']} of {format_count(one['epochs'], 'epoch')}", *([one["out"]] if one["out"] else [])]
    ends = {"y_low": spread.get("low"), "y_high": spread.get("high")}
    return ScatterPoint(one["name"], one["seconds"], one["value"], tip="\n".join(tip), **ends)


def _waiting(found: Sequence[Unrun]) -> Iterator[Waiting]:
    """Yield those that were not begun; those that were foretold the same time are one."""
    for seconds, group in groupby(found, lambda one: round(one.seconds, 1)):
        same = list(group)
        chances = [one.chance for one in same if one.chance is not None]
        tip = f"not run; about {format_duration(seconds, 0)}"
        tip += f"\n{max(chances):.0%} likely to be better by more than matters" if chances else ""
        yield Waiting(join_words(group_names([one.name for one in same])), max(seconds, 0.1), tip)


def list_steps(advice: Advice) -> list[Mapping[str, Any]]:
    """Return those that are better than all that cost less, the cheapest first; what cost nothing is left out."""
    found: list[Mapping[str, Any]] = []
    for one in sorted(advice.ranked, key=lambda one: one["seconds"]):
        sign = advice.metric.sign
        if one["seconds"] > 0 and (not found or sign * one["value"] > sign * found[-1]["value"]):
            found.append(one)
    return found


def _table(advice: Advice) -> Table:
    columns = [("candidate", False), ("time", True), (f"validation {advice.metric.title}", True)]
    columns += [(f"{advice.level:.0%} interval", True), ("epochs", True), ("where it stands", False)]
    rows = [_write_row(advice, one) for one in sorted(advice.racing, key=lambda one: one["seconds"])]
    rows += [_write_unrun(one) for one in advice.unrun]
    caption = "Every candidate by its price; ~ marks a time that was foretold"
    return Table("prices-table", caption, columns, rows[:MOST_ROWS])


def _write_row(advice: Advice, one: Mapping[str, Any]) -> list[TableCell]:
    spread = one["interval"]
    return [
        TableCell(one["name"]),
        TableCell(format_duration(one["seconds"]), one["seconds"]),
        TableCell(format_score(one["value"]), one["value"]),
        TableCell(format_interval(spread["low"], spread["high"]) if spread else NONE, spread and spread["low"]),
        TableCell(f"{one['done']} of {one['epochs']}", one["done"]),
        TableCell(describe_state(advice, one)),
    ]


def _write_unrun(one: Unrun) -> list[TableCell]:
    chance = "" if one.chance is None else f", {one.chance:.0%} likely to be better by more than matters"
    time = TableCell(f"~ {format_duration(one.seconds, 0)}", one.seconds)
    return [TableCell(one.name), time, *[TableCell(NONE)] * 3, TableCell(f"not run{chance}")]


def describe_state(advice: Advice, one: Mapping[str, Any]) -> str:
    """Return where a candidate stands: the answer, as good, out and why, or open."""
    answer = advice.answer or {"name": None, "alike": []}
    said = []
    if one["name"] == answer["name"]:
        said.append("the answer")
    elif one["name"] in answer["alike"]:
        said.append("cannot be told from the answer")
    if one["out"]:
        said.append(f"stopped: {one['out']}" if one["value"] is not None else one["out"])
    elif one["done"] < one["epochs"]:
        more = advice.open.get(one["name"])
        said.append("paused" + (f", about {format_duration(more['seconds'], 0)} to its end" if more else ""))
    elif not said:
        said.append("ran to its end")
    return "; ".join(said)


def _say_what_prices_are() -> str:
    return (
        "A price is what a candidate took in this race, on this machine, up to where it stands: to train it by itself "
        "takes about as long where the caches are there. Scores are the best on validation so far, so they lean to "
        "the good side, and those that stopped early might have come further."
    )
