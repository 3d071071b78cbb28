"""What the report of a study says: the best trial and its test, how the search went, what mattered."""

import math
import shlex
from collections.abc import Iterator

from frostline.report.page.charts import Axis, Bar, Dot, draw_dots, draw_intervals
from frostline.report.page.parts import CodeBlock, Fold, Page, Part, Section, Table, TableCell, Text, Warn, make_figure
from frostline.report.page.sections.limits import MOST_ROWS
from frostline.report.page.study.space import make_choices, make_method, make_slices, warn_of_edges
from frostline.report.read.study import UNFINISHED, Study, Trial
from frostline.units import NONE, format_count, format_duration, format_score, join_names

DONE, STOPPED = 0, 3  # style numbers
FEW = 30
"""Trials, below which shares of the spread are a rough guess."""
OPEN = 15
"""Rows of a table that is not folded away."""


def make_study_page(study: Study) -> Page:
    """Return the whole report of a study."""
    found = (make_best(study), make_history(study), make_importances(study), make_failures(study), make_method(study))
    return Page(
        title=str(study.content.get("name")),
        verdict=write_verdict(study),
        sections=[section for section in found if section is not None],
        subtitle=_subtitle(study),
        facts=list(_facts(study)),
    )


def write_verdict(study: Study) -> str:
    """Return the result: the settings, and what they came to when they were tested."""
    found, final = study.best, study.final
    if found is None:
        return f"No trial of {len(study.trials)} has a value, so there is no best one."
    tested = final.scores.get(study.metric) if final is not None and final.done else None
    if tested is None:
        return f"Best on validation: {found.settings}.\nIt has not been tested yet, or its final run has no result."
    return (
        f"{found.settings} comes to test {study.name} {format_score(tested)}.\n"
        f"It was the best of {format_count(len(study.trials), 'trial')} on validation ({format_score(found.value)}), "
        "then trained once more from another seed and tested once."
    )


def _subtitle(study: Study) -> str:
    counts = [(len(study.with_status(status)), status) for status in ("done", "pruned", *UNFINISHED)]
    counts.append((len(study.failed), "without a result"))
    said = ", ".join(f"{count} {status}" for count, status in counts if count)
    pruner = study.content.get("pruner")
    how = f"{study.content.get('sampler')}" + (f" with {pruner}" if pruner != "none" else "")
    return f"{format_count(len(study.trials), 'trial')} by {how}: {said}"


def _facts(study: Study) -> Iterator[tuple[str, str]]:
    final = study.final
    if final is not None and final.done and study.metric in final.scores:
        yield format_score(final.scores[study.metric]), f"test {study.name}, one run"
    if study.best is not None:
        yield format_score(study.best.value), f"best validation {study.name}"
    share = _share_trained(study)
    if share is not None:
        yield f"{share:.0%}", "of the epochs that trials would have had without pruning"
    wall = study.content.get("wall_seconds")
    if isinstance(wall, int | float):
        yield format_duration(wall), "wall time, everything"


def _share_trained(study: Study) -> float | None:
    """Return the share of their epochs that trials were trained for, None where none was pruned."""
    ended = [one for one in (*study.with_status("done"), *study.with_status("pruned")) if one.same_as is None]
    stopped, whole = [one for one in ended if one.status == "pruned"], study.content.get("epochs")
    if not stopped or not isinstance(whole, int) or any(one.epochs is None for one in ended):
        return None
    return sum(one.epochs or 0 for one in ended) / (whole * len(ended))


def make_best(study: Study) -> Section | None:
    """Return the best trial: its settings, the command, and what a search on validation does not say."""
    found = study.best
    if found is None:
        return None
    parts: list[Part] = [Warn(warning) for warning in warn_of_edges(study, found)]
    rows = [
        [TableCell(override.partition("=")[0]), TableCell(override.partition("=")[2])] for override in found.overrides
    ]
    parts.append(Table("best", f"Settings of trial {found.number}", [("key", False), ("value", False)], rows))
    parts += [
        Text("The command that trains and tests them, here from three seeds:"),
        CodeBlock(write_command(study, found)),
    ]
    ended = len(study.with_status("done"))
    chosen = f"the {'largest' if study.sign > 0 else 'least'} of {ended}"
    parts.append(
        Text(
            f"The best validation {study.name} is {chosen} noisy values, so part of it is luck: expect less of it "
            "again. The test split was left alone by every trial and read once, by the final run; that is the figure "
            "to quote, and it is one run: its spread over seeds is not known from here. Trials are one seed each: "
            "differences between them as small as that spread decide nothing. To claim that one setting is better "
            "than another, compare the two with frostline compare, over several seeds."
        )
    )
    return Section("best", "The best trial", parts)


def write_command(study: Study, found: Trial) -> str:
    """Return the command that runs a trial's settings."""
    base = [str(one) for one in study.content["base"]]
    return shlex.join(["frostline", "run", "-m", *base, *found.overrides, "seed=0,1,2"])


def make_history(study: Study) -> Section:
    """Return every trial in the order in which it was begun, with the best so far."""
    y = Axis(f"validation {study.name}")
    steps, best_so_far = [], -math.inf
    for one in study.with_status("done"):
        if one.value is not None and study.sign * one.value > best_so_far:
            best_so_far = study.sign * one.value
            steps.append((one.number, one.value))
    kinds = [
        ("done", DONE, [_dot(one, study) for one in study.with_status("done")]),
        ("pruned, best until then", STOPPED, [_dot(one, study) for one in study.with_status("pruned")]),
    ]
    lost = [str(one.number) for one in study.failed]
    missing = f" Without a value: {join_names(lost, 20)}." if lost else ""
    caption = f"Validation {study.name} of every trial; the line is the best so far, ringed the best.{missing}"
    drawn = make_figure(
        "history", caption, lambda **size: draw_dots(kinds, Axis("trial", whole=True), y, steps, **size)
    )
    table = _table(study)
    inside = [table] if len(study.trials) <= OPEN else [Fold("Every trial", [table])]
    return Section("history", "How the search went", [drawn, *inside])


def _dot(one: Trial, study: Study) -> Dot:
    value = math.nan if one.value is None else one.value
    top = study.best
    return Dot(f"trial {one.number}", one.number, value, one.settings, top is not None and one.number == top.number)


def _table(study: Study) -> Table:
    columns = [("trial", True), (f"validation {study.name}", True), ("status", False), ("epochs", True)]
    columns += [("time", True), ("settings", False), ("run", False)]
    rows = []
    for one in study.trials[:MOST_ROWS]:
        status = one.status if one.same_as is None else f"{one.status}, the same run as trial {one.same_as}"
        rows.append(
            [
                TableCell(str(one.number), one.number),
                TableCell(format_score(one.value), one.value),
                TableCell(status),
                TableCell(NONE if one.epochs is None else str(one.epochs), one.epochs),
                TableCell(format_duration(one.seconds), one.seconds),
                TableCell(one.settings),
                TableCell(one.id),
            ]
        )
    return Table("trials", "Trials, in the order in which they were begun", columns, rows)


def make_importances(study: Study) -> Section | None:
    """Return which keys mattered, and how trials came out over each; None where no trial has a value."""
    done = [one for one in study.with_status("done") if one.value is not None]
    if not done:
        return None
    parts: list[Part] = []
    if study.shares:
        bars = [Bar(key, share, math.nan, math.nan) for key, share in study.shares.items()]
        axis = Axis("share of the spread of values")
        few = f" {len(done)} trials make this a rough guess." if len(done) < FEW else ""
        caption = (
            "How much of the spread of values each key explains over its whole range, by fANOVA on a random forest "
            f"(Hutter, Hoos and Leyton-Brown 2014), from the {format_count(len(done), 'trial')} that came to an end. "
            f"Keys that only some trials have take no part.{few}"
        )
        parts.append(make_figure("importances", caption, lambda **size: draw_intervals(bars, axis, zero=True, **size)))
    parts += [*make_slices(study), *make_choices(study)]
    return Section("mattered", "What mattered", parts)


def make_failures(study: Study) -> Section | None:
    """Return the trials without a result, each with its reason."""
    if not study.failed:
        return None
    columns = [("trial", True), ("status", False), ("reason", False), ("settings", False)]
    rows = [
        [TableCell(str(one.number), one.number), TableCell(one.status), TableCell(one.reason), TableCell(one.settings)]
        for one in study.failed[:MOST_ROWS]
    ]
    said = "The sampler was told that they failed, not that they were bad: it may come near them again."
    return Section("failures", "No result", [Table("failures", "Trials without a result", columns, rows), Text(said)])
