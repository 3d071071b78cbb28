"""A study's space in its report: values over each key, what to beware of at its ends, and how it was searched."""

import math
from collections.abc import Iterator
from functools import partial
from statistics import fmean
from typing import Any

from frostline.report.page.charts import Axis, Dot, draw_dots
from frostline.report.page.parts import CodeBlock, Figure, Part, Section, Table, TableCell, Text, make_figure
from frostline.report.page.sections.limits import MOST_DRAWN
from frostline.report.read.runs import read_number
from frostline.report.read.study import Study, Trial
from frostline.units import format_duration, format_score

NEAR = 0.05
"""The share of a range at its ends, in which a best value is a warning."""


def warn_of_edges(study: Study, best: Trial) -> Iterator[str]:
    """Yield a warning for each key whose best value lies at an end of its range."""
    for one in study.space:
        value, ends = read_number(best.point.get(one["key"])), _ends(one)
        if value is None or ends is None or one.get("whole") and ends[1] - ends[0] < 1 / NEAR and value not in ends:
            continue
        low, high, here = (math.log(end) if one.get("log") else end for end in (*ends, value))
        place = (here - low) / (high - low)
        if not NEAR <= place <= 1 - NEAR:
            end = "low" if place < NEAR else "high"
            yield f"{one['key']}: the best value, {value:g}, lies at the {end} end of its range: beyond may be better."


def _ends(one: dict[str, Any]) -> tuple[float, float] | None:
    low, high = read_number(one.get("low")), read_number(one.get("high"))
    return None if one.get("choices") or low is None or high is None or low >= high else (low, high)


def make_slices(study: Study) -> Iterator[Figure]:
    """Yield for each range the values of all trials over it."""
    for place, one in enumerate(study.space[:MOST_DRAWN]):
        key = str(one["key"])
        if _ends(one) is None:
            continue
        kinds = [
            ("done", 0, list(_dots(study, "done", key))),
            ("pruned, best until then", 3, list(_dots(study, "pruned", key))),
        ]
        x, y = Axis(key, bool(one.get("log")), bool(one.get("whole"))), Axis(f"validation {study.name}")
        caption = f"Validation {study.name} of every trial against {key}; other keys differ from dot to dot."
        yield make_figure(f"slice-{place}", caption, partial(draw_dots, kinds, x, y))


def _dots(study: Study, status: str, key: str) -> Iterator[Dot]:
    best = study.best
    for one in study.with_status(status):
        at = read_number(one.point.get(key))
        if at is not None and one.value is not None:
            ringed = best is not None and one.number == best.number
            yield Dot(f"trial {one.number}", at, one.value, one.settings, ringed)


def make_choices(study: Study) -> Iterator[Table]:
    """Yield for each key with choices a table of how trials with each came out."""
    for place, one in enumerate(study.space):
        if one.get("choices"):
            columns = [(str(one["key"]), False), ("best", True), ("mean", True), ("done", True), ("others", True)]
            rows = [_choice(study, str(one["key"]), str(choice)) for choice in one["choices"]]
            caption = f"Validation {study.name} by {one['key']}; trials went where it looked promising, so means lean"
            yield Table(f"choice-{place}", caption, columns, rows)


def _choice(study: Study, key: str, choice: str) -> list[TableCell]:
    mine = [one for one in study.trials if str(one.point.get(key)) == choice]
    values = [one.value for one in mine if one.status == "done" and one.value is not None]
    top = max(values, key=lambda value: study.sign * value) if values else None
    mean = fmean(values) if values else None
    left = len(mine) - len(values)
    counts = [TableCell(str(len(values)), len(values)), TableCell(str(left), left)]
    return [TableCell(choice), TableCell(format_score(top), top), TableCell(format_score(mean), mean), *counts]


def make_method(study: Study) -> Section:
    """Return the command, the space and how it was searched."""
    content, parts = study.content, list[Part]()
    if content.get("command"):
        parts += [Text("The command that makes this study, and goes on with it:"), CodeBlock(str(content["command"]))]
    rows = [
        [TableCell(str(one["key"])), TableCell(_range(one)), TableCell(_describe_condition(one))] for one in study.space
    ]
    parts.append(Table("space", "The space", [("key", False), ("values", False), ("only with", False)], rows))
    rows = [[TableCell(name), TableCell(said)] for name, said in _describe_search(study)]
    parts.append(Table("how", "How it was searched", [("what", False), ("value", False)], rows))
    return Section("method", "How it was done", parts)


def _range(one: dict[str, Any]) -> str:
    if one.get("choices"):
        return ", ".join(str(choice) for choice in one["choices"])
    step = f" by {one['step']}" if one.get("step") else ""
    return f"{one.get('low')} to {one.get('high')}{step}" + (", logarithmic" if one.get("log") else "")


def _describe_condition(one: dict[str, Any]) -> str:
    when = one.get("when") or {}
    return ", ".join(f"{key}={' or '.join(str(text) for text in texts)}" for key, texts in when.items())


def _describe_search(study: Study) -> Iterator[tuple[str, str]]:
    content = study.content
    yield "sampler", f"{content.get('sampler')}, the first {content.get('startup')} trials at random"
    if content.get("pruner") != "none":
        yield "pruner", f"{content.get('pruner')}, never before epoch {content.get('min_epochs')}"
        if content.get("pruner") in ("asha", "hyperband"):
            yield "one trial goes on of", f"{content.get('factor')} at each rung"
        yield "judged by", f"the best validation {study.name} until then"
    yield "epochs of a trial", str(content.get("epochs"))
    yield "trials wanted", str(content.get("wanted"))
    yield "seed of trials", str(content.get("seed"))
    yield "seed of the final run", str(content.get("final_seed"))
    yield "time of all trials", format_duration(sum(one.seconds or 0.0 for one in study.trials if one.same_as is None))
