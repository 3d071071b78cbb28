"""Where the network knows what the data need: its depth profile, and how well that foretold the strategies' order."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from frostline.profiles.agreement import FEWEST, tau_interval
from frostline.profiles.record import PAGE, SCORES
from frostline.report.page.depths import PROBE, make_depth_figure, name_score, say_what_depths_are_worth, write_verdict
from frostline.report.page.parts import Fold, Part, Section, Table, TableCell, Text
from frostline.report.page.sections.limits import MOST_BLOCKS, MOST_ROWS
from frostline.report.read.profiles import CellProfile
from frostline.report.read.runs import Block
from frostline.report.statistics.analysis import Analysis
from frostline.report.statistics.foretelling import COLUMNS, Foretelling, foretell
from frostline.units import NONE, format_count, format_interval, format_score, join_names

TITLES = {"probe": PROBE, "neighbours": "nearest neighbours", **SCORES}
COMING = "The depth profile is not there yet: the same command makes it where it waits for its jobs (no --detach)."


def make_depths(analysis: Analysis) -> Section | None:
    """Return what the depth profiles of a comparison say; None where it has none and nothing is to be said of them."""
    cells = analysis.comparison.profiles
    shared: dict[int, list[CellProfile]] = {}
    for one in cells:
        if one.content is not None:
            shared.setdefault(id(one.content), []).append(one)
    parts: list[Part] = []
    for place, group in enumerate(list(shared.values())[:MOST_BLOCKS], 1):
        made = list(_profile(analysis, group, place))
        parts += made if place == 1 else [Fold(f"The same of {_name(analysis, group)}", made)]
    if len(shared) > MOST_BLOCKS:
        parts.append(Text(f"{format_count(len(shared) - MOST_BLOCKS, 'more profile')}: see outputs/profiles."))
    parts += [Text(said) for said in _say_what_is_missing(analysis, cells)]
    for place, block in enumerate(analysis.blocks[:MOST_BLOCKS], 1):
        if any(one.content is not None and len(one.content["taps"]) > 1 for one in cells if one.block == block):
            made = list(_foretelling(analysis, block, place))
            parts += made if place == 1 else [Fold(f"The order of strategies on {analysis.keys[block]}", made)]
    return Section("depths", "Where the network knows what you need", parts) if parts else None


def _profile(analysis: Analysis, group: Sequence[CellProfile], place: int) -> Iterator[Part]:
    content, name = group[0].content, _name(analysis, group)
    assert content is not None
    taps = content["taps"]
    if len(taps) == 1:
        score = name_score(content, taps[0]["probe"])
        yield Text(f"{name}: this network can be read at its {taps[0]['name']} alone, with validation {score}.")
        return
    yield Text(f"{name}. {write_verdict(content)}")
    yield make_depth_figure(content, f"depths-{place}")
    if place == 1:
        yield Text(
            f"{say_what_depths_are_worth(content)} The numbers behind it, and where classes part, stand in "
            f"{Path('profiles', content['id'], PAGE)} in the output folder."
        )


def _name(analysis: Analysis, group: Sequence[CellProfile]) -> str:
    """Return what a profile is of: the network and the data, and which cells where others have another one."""
    content = group[0].content
    assert content is not None
    labels, blocks = ([*dict.fromkeys(found)] for found in zip(*((one.label, one.block) for one in group), strict=True))
    said = [] if len(labels) == len(analysis.comparison.labels) else [join_names(labels, 4)]
    keys = [key for block in blocks if (key := analysis.keys.get(block, "")) != content["data"]]
    if keys and len(blocks) < len(analysis.blocks):
        said.append(join_names(keys, 4))
    return f"{content['backbone']} on {content['data']}" + (f" ({', '.join(said)})" if said else "")


def _say_what_is_missing(analysis: Analysis, cells: Sequence[CellProfile]) -> Iterator[str]:
    """Yield why there is no profile, each reason once."""
    missing = [one for one in cells if one.content is None]
    for why in dict.fromkeys(one.why for one in missing):
        places = list(dict.fromkeys(analysis.keys.get(one.block, "") for one in missing if one.why == why))
        where = f" on {join_names(places, 4)}" if any(places) and len(places) < len(analysis.blocks) else ""
        yield COMING if why is None else f"There is no depth profile{where}: {why}"


def _foretelling(analysis: Analysis, block: Block, place: int) -> Iterator[Part]:
    """Yield each strategy at the depth where its frozen part ends, and how far each column has its order."""
    found = foretell(analysis, block)
    n, where = len(found.placed), analysis.places[block]
    if found.placed:
        yield _placed(analysis, found, place, where)
    if n >= FEWEST:
        yield _agreement(analysis, found, place, where)
        yield Text(_say_what_it_is_worth(n, place))
    else:
        yield Text(
            f"{format_count(n, 'strategy has', 'strategies have')} a place at a depth{where}. To say how well the "
            f"columns foretold the order of strategies takes {FEWEST}, such as linear_probe and last_k with two values "
            "of k."
        )
    if found.left_out:
        yield Text(f"Without a place: {_list_left_out(found)}.")


def _list_left_out(found: Foretelling) -> str:
    labels: dict[str, list[str]] = {}
    for label, why in found.left_out.items():
        labels.setdefault(why, []).append(label)
    return "; ".join(f"{join_names(names, 12)} ({why})" for why, names in labels.items())


def _placed(analysis: Analysis, found: Foretelling, place: int, where: str) -> Table:
    columns = [("strategy", False), ("frozen to", False), *((TITLES[name], True) for name in COLUMNS)]
    rows = [
        [
            TableCell(one.label),
            TableCell(one.tap),
            *(TableCell(format_score(one.columns[name]), one.columns[name]) for name in COLUMNS),
            TableCell(format_score(one.score), one.score),
        ]
        for one in found.placed[:MOST_ROWS]
    ]
    caption = f"Each strategy at the depth to which it stays frozen{where}: what was known there, and what came of it"
    return Table(f"frozen-{place}", caption, [*columns, (f"test {analysis.name}", True)], rows)


def _agreement(analysis: Analysis, found: Foretelling, place: int, where: str) -> Table:
    rows = []
    for name, one in found.agreements.items():
        said = format_interval(one.interval.low, one.interval.high, "+") if one.interval else one.why or NONE
        rows.append(
            [
                TableCell(TITLES[name]),
                TableCell(format_score(one.tau, "+"), one.tau),
                TableCell(said),
                TableCell(str(one.n), one.n),
            ]
        )
    columns = [("column", False), ("Kendall's tau", True), ("95% interval", False), ("strategies", True)]
    caption = f"Rank correlation of each column with the test {analysis.name} of strategies{where}"
    return Table(f"foretold-{place}", caption, columns, rows)


def _say_what_it_is_worth(n: int, place: int) -> str:
    """Return how little a few strategies can say; of the first block also what the numbers are."""
    widest = format_interval(tau_interval(1.0, n).low, 1.0, "+")
    few = (
        f"{n} strategies have {math.factorial(n):,} orders, so a column that knows nothing has the right one in 1 of "
        f"{math.factorial(n):,} comparisons, and even the right one leaves an interval of {widest}."
    )
    if place > 1:
        return few
    return (
        f"1: the column orders the strategies just as the test scores did; -1: the other way round. {few} Intervals "
        "take the test scores as they are, and are exact (Mallows' model). A column says what the frozen part knows by "
        "itself, and nothing of what training adds above it: where training pays, the strategy that is frozen to a "
        "poorer depth can be the better one. Such scores are told to order networks weakly, and rankings to turn round "
        "with small changes of the set-up (Agostinelli et al. 2022, arXiv:2204.01403); of strategies there are no "
        "published results that we know."
    )
