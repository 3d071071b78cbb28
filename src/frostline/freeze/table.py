"""The plan as a table, printed before training: what is frozen, what trains at which rate, and what is cached."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from string import digits
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from frostline.freeze.plan import HEAD, Phase, Plan, Train
from frostline.units import compact, plural


class Stretch(NamedTuple):
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
        title=Text(title(plan, sizes, pretrained)),
        title_justify="left",
        caption=Text("\n".join(plan.notes)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    add_columns(table)
    for index, phase in enumerate(plan.phases):
        runs = runs_of(plan, phase)
        table.add_row(
            Text(short(phase.name)),
            str(phase.epochs),
            lines(run.label for run in runs),
            lines(parameters(run, sizes, trainable[index]) for run in runs),
            lines(treatment(run) for run in runs),
            Text(cached[index]),
            end_section=len(plan.phases) <= 8,
        )
    return table


def title(plan: Plan, sizes: Mapping[str, int], pretrained: bool = True) -> str:
    """Return the plan in one line."""
    weights = "pretrained" if plan.pretrained and pretrained else "random"
    return (
        f"Plan: {plural(plan.epochs, 'epoch')} in {plural(len(plan.phases), 'phase')}, "
        f"{compact(sum(sizes.values()))} parameters, {weights} weights"
    )


def add_columns(table: Table) -> None:
    """Add the columns; only the cache's words may wrap, so that the lines of the others stay side by side."""
    table.add_column("phase", no_wrap=True, max_width=14)
    table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("groups", no_wrap=True, max_width=18)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("lr", no_wrap=True)
    table.add_column("cache", min_width=12)


def runs_of(plan: Plan, phase: Phase) -> list[Stretch]:
    """Return the runs of a phase in depth order, the head by itself; frozen ones as one where there are several."""
    runs = []
    for _, found in groupby((*plan.groups, HEAD), key=lambda name: kind_of(phase, name)):
        names = tuple(found)
        runs.append(Stretch(span(names), names, tuple(phase.train[name] for name in names if name in phase.train)))
    frozen = [run for run in runs if not run.train]
    if len(frozen) < 2:
        return runs
    others = Stretch("all others", tuple(name for run in frozen for name in run.names), ())
    return [*(run for run in runs if run.train), others]


def kind_of(phase: Phase, name: str) -> tuple[bool, str]:
    """Return what groups of one run have in common."""
    return name == HEAD, phase.train[name].kind if name in phase.train else "frozen"


def treatment(run: Stretch) -> str:
    """Return ``frozen``, or the scale of the learning rate from the run's lowest to its highest."""
    if not run.train:
        return "frozen"
    low, high = (format(bound(train.lr for train in run.train), ".2g") for bound in (min, max))
    kind = "" if run.train[0].kind == "all" else f" {run.train[0].kind}"
    return f"x{low}{kind}" if low == high else f"x{low}..{high}{kind}"


def parameters(run: Stretch, sizes: Mapping[str, int], trainable: Mapping[str, int]) -> str:
    """Return how many parameters the run has and, where only some of them train, how many do."""
    total = sum(sizes[name] for name in run.names)
    trained = sum(trainable.get(name, 0) for name in run.names)
    return f"{compact(trained)} of {compact(total)}" if run.train and trained != total else compact(total)


def span(names: Sequence[str], dash: str = "-") -> str:
    """Return ``stem-stage5`` for neighbours from ``stem`` to ``stage5``, ``stage2-5`` for those from ``stage2``."""
    first, last = names[0], names[-1]
    stem = first.rstrip(digits)
    number = last.removeprefix(stem)
    return first if len(names) == 1 else first + dash + (number if number.isdigit() and stem != first else last)


def short(name: str) -> str:
    """Return a merged phase's name with at most two of its parts."""
    parts = name.split("+")
    return name if len(parts) == 1 else span(parts, "+" if len(parts) == 2 else "..")


def lines(texts: Iterable[str]) -> Text:
    """Return a cell with a line for each text, as it stands (no markup)."""
    return Text("\n".join(texts))
