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
from frostline.results.prices import list_prices
from frostline.units import NONE, format_count, format_duration, format_interval, format_score

BUYS = "the best so far"


def make_prices(advice: Advice, styles: Mapping[str, int]) -> Section:
    """Return the picture of scores against seconds, and the table."""
    parts: list[Part] = [*_picture(advice, styles), make_price_table(advice), Text(say_what_prices_are(advice))]
    return Section("prices", "What each price buys", parts)


def _picture(advice: Advice, styles: Mapping[str, int]) -> Iterator[Figure]:
    level, title = f"{advice.level:.0%}", advice.metric.title
    drawn = [one for one in advice.ranked[:MOST_DRAWN] if one["seconds"] > 0]
    if not drawn:
        return
    points = [_point(one) for one in drawn]
    front = [one["name"] for one in list_prices(advice.ranked, advice.metric.sign)]
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
        names = [one.name for one in same]
        short = list(dict.fromkeys(name.rpartition(" at ")[0] or name for name in names)) if len(names) > 1 else names
        yield Waiting(join_words(short), max(seconds, 0.1), f"{join_words(group_names(names))}\n{tip}")


def make_price_table(advice: Advice) -> Table:
    """Return every candidate with what it took and came to, the cheapest first, then those that were not run."""
    columns = [("candidate", False), ("time", True), (f"validation {advice.metric.title}", True)]
    columns += [(f"{advice.level:.0%} interval", True), ("epochs", True), ("likely to win", True), ("state", False)]
    rows = [list(_write_row(advice, one)) for one in sorted(advice.racing, key=lambda one: one["seconds"])]
    for one in advice.unrun:
        time = TableCell(f"~ {format_duration(one.seconds, 0)}", one.seconds)
        rows.append(
            [TableCell(one.name), time, *[TableCell(NONE)] * 3, _write_chance(one.chance), TableCell("not run")]
        )
    caption = "Every candidate by its price; ~ marks a time that was foretold"
    return Table("prices-table", caption, columns, rows[:MOST_ROWS])


def _write_row(advice: Advice, one: Mapping[str, Any]) -> Iterator[TableCell]:
    spread = one["interval"]
    yield TableCell(one["name"])
    yield TableCell(format_duration(one["seconds"]), one["seconds"])
    yield TableCell(format_score(one["value"]), one["value"])
    yield TableCell(format_interval(spread["low"], spread["high"]), spread["low"]) if spread else TableCell(NONE)
    yield TableCell(f"{one['done']} of {one['epochs']}", one["done"])
    yield _write_chance(advice.open.get(one["name"], {}).get("chance"))
    yield TableCell(describe_state(advice, one))


def _write_chance(chance: float | None) -> TableCell:
    return TableCell(NONE) if chance is None else TableCell(f"{chance:.0%}", chance)


def describe_state(advice: Advice, one: Mapping[str, Any]) -> str:
    """Return where a candidate stands: the answer, as good, stopped, paused, ended, or why it has no score."""
    answer = advice.answer or {"name": None, "alike": []}
    if one["name"] == answer["name"]:
        return "the answer"
    if one["value"] is None:
        return one["out"] or "no score yet"
    if one["out"] and not one["out"].endswith(f"more than {advice.content['least']:.2g}"):
        end = one["out"]
    else:
        end = "stopped" if one["out"] else "paused" if one["done"] < one["epochs"] else "ended"
    return f"as good; {end}" if one["name"] in answer["alike"] else end


def say_what_prices_are(advice: Advice) -> str:
    """Return what is in a price, what is not, and how scores and chances are meant."""
    began = [format_duration(row["at"]) for row in advice.content["moves"][:1]]
    before = "".join(f" What all need, once, is not in it: the first began after {at}." for at in began)
    return (
        "A price is what a candidate took in this race, on this machine, up to where it stands."
        f"{before} Scores are the best on validation so far: they lean to the good side, and those "
        "that stopped early might have come further. Likely to win: to be better than the leader by more than matters, "
        "if run to its end. As good: not to be told from the answer by the validation samples."
    )
