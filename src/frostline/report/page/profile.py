"""The page of a depth profile: the picture along the network, its numbers, where classes part, what columns mean."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from frostline.files.atomic import write_atomic
from frostline.files.csv_tables import write_csv
from frostline.profiles.record import PAGE, PROFILE, SCORES, TABLE, list_rows
from frostline.report.page.charts import draw_matrix
from frostline.report.page.depths import (
    PROBE,
    Content,
    make_depth_figure,
    name_neighbours,
    say_what_depths_are_worth,
    write_verdict,
)
from frostline.report.page.html import make_html
from frostline.report.page.parts import CodeBlock, Fold, Page, Part, Section, Table, TableCell, Text, make_figure
from frostline.report.page.sections.limits import MOST_DRAWN, MOST_ROWS
from frostline.units import NONE, format_count, format_duration, format_interval, format_score


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
    """Return the picture, and what it is worth."""
    text = (
        f"{say_what_depths_are_worth(content)} Whether two depths differ is told by the interval of their difference, "
        "on the same samples, in the table below."
    )
    return Section("depths", "What each depth knows", [make_depth_figure(content, "depth"), Text(text)])


def make_numbers(content: Content) -> Section:
    """Return the table of all depths, and what its columns are."""
    metric = content["metric"]["title"]
    columns = [("tap", False), ("in group", False), ("width", True), ("FLOPs", True), (PROBE, True)]
    columns += [("95% interval", True), ("best less this", True), (f"{content['neighbours']}-NN", True)]
    columns += [(title, True) for title in SCORES.values()]
    rows = [
        [*_start_row(tap, place == content["best"]), *_end_row(tap)]
        for place, tap in enumerate(content["taps"][:MOST_ROWS])
    ]
    for one in content["joined"]:
        row = _start_row({**one, "name": f"joined: {one['name']}", "group": NONE, "flops": None})
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
        TableCell(one["group"]),
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
        title = SCORES.get(name, name_neighbours(content))
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
