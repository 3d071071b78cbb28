"""The race: how candidates learned, who stopped when and why; and where the time went."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from frostline.report.page.charts import Axis, Bar, Line, draw_intervals, draw_lines
from frostline.report.page.parts import Part, Section, Table, TableCell, Text, make_figure
from frostline.report.page.sections.limits import MOST_DRAWN, MOST_ROWS
from frostline.report.read.advice import Advice
from frostline.units import format_count, format_duration, format_score, join_names


def make_race(advice: Advice, styles: Mapping[str, int]) -> Section | None:
    """Return the curves and the moves; None where nothing was begun."""
    moves = advice.content["moves"]
    if not moves and not advice.racing:
        return None
    parts: list[Part] = []
    drawn = [_line(one) for one in advice.ranked[:MOST_DRAWN] if one["curve"]]
    if drawn:
        axes = Axis("epochs done", whole=True), Axis(f"validation {advice.metric.title}, the best so far")
        caption = (
            f"The best validation {advice.metric.title} so far, after each epoch. A candidate whose head is solved "
            "rather than stepped has one point, at its end."
        )
        parts.append(make_figure("race-curves", caption, partial(draw_lines, drawn, *axes, styles=styles)))
    columns = [("at", True), ("candidate", False), ("move", False), ("why", False)]
    rows = [_write_move(one) for one in moves[:MOST_ROWS]]
    parts.append(Table("moves", "Every decision, in the order in which they were made", columns, rows))
    if advice.content["least"] > 0:
        parts.append(Text(say_how_it_was_decided(advice)))
    if known := advice.content["history"]:
        parts.append(
            Text(
                f"What was expected drew on {format_count(len(known), 'earlier advice', 'earlier ones')}: "
                f"{join_names(known)}; advise.history=false does without."
            )
        )
    parts += _repeats(advice)
    return Section("race", "The race", parts)


def _line(one: Mapping[str, Any]) -> Line:
    pairs = sorted((epoch + 1, value) for epoch, value in one["curve"])
    return Line(one["name"], [float(epoch) for epoch, _ in pairs], [value for _, value in pairs])


def _write_move(one: Mapping[str, Any]) -> list[TableCell]:
    at = TableCell(format_duration(one["at"], 0), one["at"])
    return [at, TableCell(one["name"]), TableCell(one["what"]), TableCell(one["reason"])]


def say_how_it_was_decided(advice: Advice) -> str:
    """Return the rules of the race."""
    least = advice.content["least"]
    matters = f"{least:.1%} of the best error" if advice.metric.lower_is_better else format_score(least)
    return (
        "The cheapest goes first. Then whoever gains most on average for each second to its end goes on, up to the "
        "next of 20%, 50% and all of its epochs; who is unlikely to be better than the leader by more than "
        f"{matters} stops. Only validation decides. advice.json holds what each decision was made from: the same "
        "facts give the same decisions."
    )


def _repeats(advice: Advice) -> Iterator[Table]:
    """Yield the scores of those that were run with several seeds."""
    trials = advice.content["trials"]
    counts = Counter(one["name"] for one in trials)
    rows = [
        [
            TableCell(one["name"]),
            TableCell(str(one["seed"]), one["seed"]),
            TableCell(format_score(one["value"]), one["value"]),
            TableCell(format_duration(one["seconds"]), one["seconds"]),
        ]
        for one in sorted(trials, key=lambda one: (one["name"], one["seed"]))
        if counts[one["name"]] > 1
    ]
    if rows:
        columns = [("candidate", False), ("seed", True), (f"validation {advice.metric.title}", True), ("time", True)]
        yield Table("seeds", "Those that could not be told apart, seed by seed", columns, rows[:MOST_ROWS])


def make_costs(advice: Advice, styles: Mapping[str, int]) -> Section:
    """Return where the time went, and whether it was kept."""
    spent: dict[str, float] = {}
    for one in advice.content["trials"]:
        spent[one["name"]] = spent.get(one["name"], 0.0) + one["seconds"]
    parts: list[Part] = [Text(say_whether_it_was_kept(advice, sum(spent.values())))]
    order = sorted(spent.items(), key=lambda pair: -pair[1])
    bars = [Bar(name, seconds, math.nan, math.nan) for name, seconds in order[:MOST_DRAWN]]
    if bars:
        draw = partial(draw_intervals, bars, Axis("seconds"), True, styles=styles)
        parts.append(make_figure("spent", "Seconds of each candidate's runs, over all its seeds.", draw))
    return Section("costs", "Costs", parts)


def say_whether_it_was_kept(advice: Advice, runs: float) -> str:
    """Return the time that was asked for and that it took; ``runs`` are the seconds of all runs in the race."""
    asked, took = advice.content["within"], advice.content["seconds"]
    late = took - asked
    kept = f"{format_duration(late)} late" if late > 0.05 else "in time"
    said = f"Asked for {format_duration(asked, 0)}, it took {format_duration(took)}: {kept}. "
    count = format_count(len(advice.content["trials"]), "run")
    work = "looking at the data and reading the network" + (", and to the test" if advice.answer else "")
    said += f"{count} in the race took {format_duration(runs)}"
    rest = took - runs
    if rest > 0:
        said += f"; the other {format_duration(rest)} went to {work}"
    return f"{said}. Earlier sittings of the same advice are counted."


def choose_styles(names: Sequence[str]) -> dict[str, int]:
    """Return each candidate's look, the same in every chart and table of the page."""
    return {name: place for place, name in enumerate(names)}
