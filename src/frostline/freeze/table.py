"""The plan as a table, printed before training: what is frozen, what trains at which rate, and what is cached."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from string import digits
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from frostline.freeze.plan import HEAD, Phase, Plan, Train
from frostline.units import format_compact, format_count


class GroupSpan(NamedTuple):
    """Groups that are treated alike in a phase: frozen, or trained in the same kind."""

    label: str
    names: tuple[str, ...]
    train: tuple[Train, ...]  # empty where frozen


def plan_table(
    plan: Plan,
    sizes: Mapping[str, int],
    trainable: Sequence[Mapping[str, int]],
    cached: Sequence[str],
    pretrained: bool = True,
) -> Table:
    """Return one row a phase; within it a line for each run of groups that are treated alike.

    ``sizes`` holds the parameters of each group and of the head, ``trainable`` for each phase those that train,
    ``cached`` for each phase a few words on what is cached or why not, ``pretrained`` whether weights were asked for at
    all. Reads without colour from 80 columns on.
    """
    assert len(trainable) == len(cached) == len(plan.phases), (len(trainable), len(cached), len(plan.phases))
    table = Table(
        title=Text(write_title(plan, sizes, pretrained)),
        title_justify="left",
        caption=Text("\n".join(plan.notes)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    add_columns(table)
    for index, phase in enumerate(plan.phases):
        runs = find_spans(plan, phase)
        table.add_row(
            Text(shorten_name(phase.name)),
            str(phase.epochs),
            make_lines(run.label for run in runs),
            make_lines(describe_parameters(run, sizes, trainable[index]) for run in runs),
            make_lines(describe_treatment(run) for run in runs),
            Text(cached[index]),
            end_section=len(plan.phases) <= 8,
        )
    return table


def write_title(plan: Plan, sizes: Mapping[str, int], pretrained: bool = True) -> str:
    """Return the plan in one line."""
    weights = "pretrained" if plan.pretrained and pretrained else "random"
    return (
        f"Plan: {format_count(plan.epochs, 'epoch')} in {format_count(len(plan.phases), 'phase')}, "
        f"{format_compact(sum(sizes.values()))} parameters, {weights} weights"
    )


def add_columns(table: Table) -> None:
    """Add the columns; only the cache's words may wrap, so that the lines of the others stay side by side."""
    table.add_column("phase", no_wrap=True, max_width=14)
    table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("groups", no_wrap=True, max_width=18)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("lr", no_wrap=True)
    table.add_column("cache", min_width=12)


def find_spans(plan: Plan, phase: Phase) -> list[GroupSpan]:
    """Return the runs of a phase in depth order, the head by itself; frozen ones as one where there are several."""
    runs = []
    for _, found in groupby((*plan.groups, HEAD), key=lambda name: name_kind(phase, name)):
        names = tuple(found)
        runs.append(
            GroupSpan(name_span(names), names, tuple(phase.train[name] for name in names if name in phase.train))
        )
    frozen = [run for run in runs if not run.train]
    if len(frozen) < 2:
        return runs
    others = GroupSpan("all others", tuple(name for run in frozen for name in run.names), ())
    return [*(run for run in runs if run.train), others]


def name_kind(phase: Phase, name: str) -> tuple[bool, str]:
    """Return what groups of one run have in common."""
    return name == HEAD, phase.train[name].kind if name in phase.train else "frozen"


def describe_treatment(run: GroupSpan) -> str:
    """Return ``frozen``, or the scale of the learning rate from the run's lowest to its highest."""
    if not run.train:
        return "frozen"
    low, high = (format(bound(train.lr for train in run.train), ".2g") for bound in (min, max))
    kind = "" if run.train[0].kind == "all" else f" {run.train[0].kind}"
    return f"x{low}{kind}" if low == high else f"x{low}..{high}{kind}"


def describe_parameters(run: GroupSpan, sizes: Mapping[str, int], trainable: Mapping[str, int]) -> str:
    """Return how many parameters the run has and, where only some of them train, how many do."""
    total = sum(sizes[name] for name in run.names)
    trained = sum(trainable.get(name, 0) for name in run.names)
    return (
        f"{format_compact(trained)} of {format_compact(total)}"
        if run.train and trained != total
        else format_compact(total)
    )


def name_span(names: Sequence[str], dash: str = "-") -> str:
    """Return ``stem-stage5`` for neighbours from ``stem`` to ``stage5``, ``stage2-5`` for those from ``stage2``."""
    first, last = names[0], names[-1]
    stem = first.rstrip(digits)
    number = last.removeprefix(stem)
    return first if len(names) == 1 else first + dash + (number if number.isdigit() and stem != first else last)


def shorten_name(name: str) -> str:
    """Return a merged phase's name with at most two of its parts."""
    parts = name.split("+")
    return name if len(parts) == 1 else name_span(parts, "+" if len(parts) == 2 else "..")


def make_lines(texts: Iterable[str]) -> Text:
    """Return a cell with a line for each text, as it stands (no markup)."""
    return Text("\n".join(texts))
