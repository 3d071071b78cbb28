"""The page of a depth profile: the picture along the network, its numbers, where classes part, what columns mean."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from frostline.files.atomic import write_atomic
from frostline.files.csv_tables import write_csv
from frostline.profiles.record import PAGE, PROFILE, SCORES, TABLE, find_first_alike, is_alike, is_better, list_rows
from frostline.report.page.charts import Axis, Bar, Reading, depth_chart, draw_matrix
from frostline.report.page.html import make_html
from frostline.report.page.parts import CodeBlock, Fold, Page, Part, Section, Table, TableCell, Text, make_figure
from frostline.report.page.sections.limits import MOST_DRAWN, MOST_ROWS
from frostline.units import NONE, format_count, format_duration, format_interval, format_score

Content = Mapping[str, Any]
PROBE = "solved probe"


def write_profile(folder: Path, content: Content) -> None:
    """Write profile.csv, profile.html and, last, profile.json: where it is, all are. Raises WriteError."""
    write_csv(folder / TABLE, list_rows(content))
    write_atomic(folder / PAGE, make_html(make_profile_page(content)))
    write_atomic(folder / PROFILE, json.dumps(content, indent=2) + "\n")


def make_profile_page(content: Content) -> Page:
    """Return the page of what profile.json says."""
    sections = (make_depths(content), make_numbers(content), make_classes(content), make_agreement(content))
    samples = content["samples"]
    return Page(
        title=f"{content['backbone']} on {content['data']}",
        verdict=write_verdict(content),
        sections=[*(one for one in sections if one is not None), make_method(content)],
        subtitle=(
            f"Depth profile: a frozen network, read at {format_count(len(content['taps']), 'depth')} with "
            f"{samples['train']:,} training and {samples['val']:,} validation samples"
        ),
        facts=list(_list_facts(content)),
    )


def write_verdict(content: Content) -> str:
    """Return where the network knows most, from where on that is so, and whether joining depths gives more."""
    taps, best = content["taps"], content["best"]
    if best is None:
        return f"No depth of this network has a validation {content['metric']['title']}, so there is nothing to say."
    top, end, first = taps[best], taps[-1], find_first_alike(taps)
    lines = [f"Frozen, this network is read best at {top['name']}: validation {_name_score(content, top['probe'])}."]
    if best != len(taps) - 1:
        known = "cannot be told from it" if is_alike(end["probe"]) else "is behind it by more than chance"
        lines.append(f"The network's end, {_name_score(content, end['probe'])}, {known}.")
    if first is not None and first != best:
        lines.append(f"{taps[first]['name']} is the first depth that cannot be told from the best one.")
    for one in content["joined"][:1]:
        gap = one["probe"]["gap"]
        said = "cannot be told from the best single depth"
        if gap is not None and not is_alike(one["probe"]):
            said = f"{'beats' if is_better(one['probe']) else 'is behind'} the best single depth by more than chance"
        lines.append(f"All depths joined, {_name_score(content, one['probe'])}, {said}.")
    return f"{lines[0]}\n{' '.join(lines[1:])}"


def _name_score(content: Content, reading: Content) -> str:
    spread = reading["interval"]
    ends = f" {format_interval(spread['low'], spread['high'])}" if spread else ""
    return f"{content['metric']['title']} {format_score(reading['value'])}{ends}"


def _list_facts(content: Content) -> Iterator[tuple[str, str]]:
    """Yield the few numbers that are set large."""
    taps, best = content["taps"], content["best"]
    if best is not None:
        yield format_score(taps[best]["probe"]["value"]), f"validation {content['metric']['title']}, best depth"
    yield format_score(taps[-1]["probe"]["value"]), "at the network's end"
    for one in content["joined"][:1]:
        yield format_score(one["probe"]["value"]), "all depths joined"
    yield format_duration(sum(content["seconds"].values())), "in all, on this machine"


def make_depths(content: Content) -> Section:
    """Return the picture: probe and neighbours along the network, joined heads as lines."""
    metric, taps = content["metric"], content["taps"]
    names = [tap["name"] for tap in taps]
    readings = [
        _make_reading(PROBE, [tap["probe"] for tap in taps]),
        _make_reading(_name_neighbours(content), [tap["neighbours"] for tap in taps]),
    ]
    known = [one for one in content["joined"] if one["probe"]["value"] is not None]
    joined = [
        Bar(f"joined: {one['name']}", one["probe"]["value"], *(_read_ends(one["probe"]) or (math.nan, math.nan)))
        for one in known
    ]
    axis = Axis(f"validation {metric['title']}")
    draw = partial(depth_chart, names, readings, axis, joined, lower_is_better=metric["lower_is_better"])
    caption = (
        f"Validation {metric['title']} at each depth, from the input to the output; ringed is the best of each. "
        "Joined heads read several depths at once. Bars and bands are 95% intervals."
    )
    worth = "least" if metric["lower_is_better"] else "largest"
    return Section(
        "depths",
        "What each depth knows",
        [
            make_figure("depth", caption, draw),
            Text(
                f"The best depth is the {worth} of {len(taps)} noisy values, and it was picked on the very samples "
                "that it is shown for, as were the probes' penalties: part of it is luck, so expect a little less of "
                "it on others. The test split was not looked at. An interval covers the chance of the validation "
                "samples: that others of their kind had been drawn. It covers neither other training samples nor the "
                "choice of the best; whether two depths differ is told by the interval of their difference, on the "
                "same samples, in the table below."
            ),
        ],
    )


def _make_reading(name: str, found: Sequence[Content]) -> Reading:
    ends = [_read_ends(one) for one in found]
    lows, highs = ([None if pair is None else pair[place] for pair in ends] for place in (0, 1))
    return Reading(name, [one["value"] for one in found], lows, highs)


def _read_ends(reading: Content) -> tuple[float, float] | None:
    spread = reading["interval"]
    return None if spread is None else (spread["low"], spread["high"])


def _name_neighbours(content: Content) -> str:
    return f"{content['neighbours']} nearest neighbours"


def make_numbers(content: Content) -> Section:
    """Return the table of all depths, and what its columns are."""
    metric = content["metric"]["title"]
    columns = [("tap", False), ("width", True), ("FLOPs", True), (PROBE, True)]
    columns += [("95% interval", True), ("best less this", True), (f"{content['neighbours']}-NN", True)]
    columns += [(title, True) for title in SCORES.values()]
    rows = [
        [*_start_row(tap, place == content["best"]), *_end_row(tap)]
        for place, tap in enumerate(content["taps"][:MOST_ROWS])
    ]
    for one in content["joined"]:
        row = _start_row({**one, "name": f"joined: {one['name']}", "flops": None})
        rows.append([*row, *[TableCell(NONE)] * (len(columns) - len(row))])
    caption = f"Each depth: validation {metric} of a solved probe and of neighbours, the share of the FLOPs up to there"
    notes = list(dict.fromkeys(f"{SCORES[name]}: {tap[name]['why']}" for tap in content["taps"] for name in SCORES
                               if tap[name]["why"]))  # fmt: skip
    more = [
        "Best less this: the 95% interval of the difference to the best depth on the same samples, positive where the "
        "best is better. Where it holds 0 these samples cannot tell the two apart.",
        "LogME, the regularised H-score and NLEEP are worked out from the training samples alone and train nothing; "
        "more is better. They order depths and networks weakly: the probe beside them is the better guide where it can "
        "be had.",
        *notes[:MOST_DRAWN],
    ]
    return Section("numbers", "Numbers", [Table("taps", caption, columns, rows), *map(Text, more)])


def _start_row(one: Content, is_best: bool = False) -> list[TableCell]:
    probe = one["probe"]
    spread, gap = (probe[key] and (probe[key]["low"], probe[key]["high"]) for key in ("interval", "gap"))
    return [
        TableCell(one["name"]),
        TableCell(f"{one['width']:,}", one["width"]),
        TableCell(NONE if one["flops"] is None else f"{one['flops']:.0%}", one["flops"]),
        TableCell(format_score(probe["value"]), probe["value"]),
        TableCell(format_interval(*spread) if spread else NONE, spread[0] if spread else None),
        TableCell("the best" if is_best else format_interval(*gap, sign="+") if gap else NONE, gap[0] if gap else None),
    ]


def _end_row(tap: Content) -> Iterator[TableCell]:
    for value in (tap["neighbours"]["value"], *(tap[name]["value"] for name in SCORES)):
        yield TableCell(format_score(value), value)


def make_classes(content: Content) -> Section | None:
    """Return where classes part, of a task that has classes."""
    taps, classes = content["taps"], [one for one in content["classes"] if one["n"]]
    if not classes:
        return None
    names = [tap["name"] for tap in taps]
    shown = classes[:MOST_DRAWN]
    draw = partial(draw_matrix, [one["name"] for one in shown], names, [one["recalls"] for one in shown])
    caption = "The share of each class's validation samples that the solved probe has right, at each depth."
    columns = [("class", False), ("samples", True), ("parts at", True), ("within a point of its best", True)]
    columns += [("best at", True), ("right there", True), ("right at the end", True)]
    rows = [
        [
            TableCell(one["name"]),
            TableCell(f"{one['n']:,}", one["n"]),
            *(TableCell(names[one[key]], one[key]) for key in ("alike", "near", "best")),
            TableCell(format_score(one["recalls"][one["best"]]), one["recalls"][one["best"]]),
            TableCell(format_score(one["recalls"][-1]), one["recalls"][-1]),
        ]
        for one in classes[:MOST_ROWS]
    ]
    parts: list[Part] = [make_figure("classes", caption, draw)]
    if len(classes) > len(shown):
        parts.append(Text(f"Drawn are the first {len(shown)} of {len(classes)} classes."))
    text = (
        "A class parts at the first depth that its own validation samples cannot tell from its best one; with few "
        "samples that is early, for they can tell little apart."
    )
    table = Table("parting", "The depth at which each class parts", columns, rows)
    return Section("classes", "Where classes part", [*parts, Text(text), Fold("Every class", [table])])


def make_agreement(content: Content) -> Section:
    """Return how far each column orders the depths as the probe does."""
    rows = []
    for name, one in content["agreement"].items():
        title = SCORES.get(name, _name_neighbours(content))
        spread = one["interval"]
        said = format_interval(spread["low"], spread["high"], "+") if spread else one["why"] or NONE
        rows.append([TableCell(title), TableCell(format_score(one["tau"], "+"), one["tau"]), TableCell(said)])
    columns = [("column", False), ("Kendall's tau", True), ("95% interval", False)]
    text = (
        "1: the column orders the depths just as the solved probe does; 0: it says nothing of their order. Depths of "
        "one network mostly rise together, so this is easier than telling strategies or networks apart."
    )
    caption = f"Rank correlation of each column with the probe, over {format_count(len(content['taps']), 'depth')}"
    return Section(
        "columns", "What the cheap columns foretell", [Table("agreement", caption, columns, rows), Text(text)]
    )


def make_method(content: Content) -> Section:
    """Return the command, the data, and where the time went."""
    seconds = content["seconds"]
    names = {"reading": "reading the data through the network", "joined": "joined heads", "probes": "probes", **SCORES}
    spent = ", ".join(f"{names.get(name, name)} {format_duration(value)}" for name, value in seconds.items())
    versions = ", ".join(f"{name} {value}" for name, value in content["versions"].items())
    return Section(
        "method",
        "How it was done",
        [
            CodeBlock(content["command"]),
            Text(content["summary"]),
            Text(
                "Each depth is pooled to one vector, by mean and maximum, and brought to one variance. The probe is "
                "solved to the optimum on the training samples, in one view of each; its penalty is the one with the "
                "least loss on validation. Neighbours are the most similar training samples by cosine."
            ),
            Text(f"Time: {spent}. What the cache holds already is not read again."),
            Text(f"Versions: {versions}."),
        ],
    )
