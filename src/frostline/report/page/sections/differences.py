"""How far each strategy lies from the best, and how the strategies rank over several blocks."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

from frostline.intervals import Interval
from frostline.report.page.charts import Axis, Bar, draw_intervals, draw_ranking
from frostline.report.page.parts import Figure, Part, Section, Table, TableCell, Text, make_figure
from frostline.report.page.sections.limits import MOST_DRAWN, MOST_ROWS
from frostline.report.statistics.analysis import Analysis
from frostline.report.statistics.differences import Difference
from frostline.report.statistics.ranking import AverageRanks
from frostline.units import NONE, format_count, format_difference, format_interval, format_probability, join_names


def make_differences(analysis: Analysis) -> Section | None:
    """Return how far each strategy lies from the best, with intervals, tests and effect sizes."""
    found = analysis.differences[:MOST_ROWS]
    if not found:
        return None
    parts: list[Part] = [
        *_forest(analysis, found),
        _difference_table(analysis, found),
        Text(_describe_evidence(analysis)),
    ]
    parts += [Text(why) for why in dict.fromkeys(_explain_missing(analysis, found))]
    return Section("differences", "Differences", parts)


def _explain_missing(analysis: Analysis, found: Sequence[Difference]) -> Iterator[str]:
    yield from (f"{one.why[0].upper()}{one.why[1:]}" for one in found if one.why)
    if analysis.unresampled:
        yield f"There is no bootstrap over test samples: {analysis.unresampled}."


def _forest(analysis: Analysis, found: Sequence[Difference]) -> list[Figure]:
    bars = []
    for one in found[:MOST_DRAWN]:
        spread = one.bootstrap or one.interval
        if spread:
            bars.append(Bar(one.label, one.mean, spread.low, spread.high, f"n = {format_count(one.n, 'pair')}"))
    if not bars:
        return []
    over = "seeds and test samples (bootstrap)" if any(one.bootstrap for one in found) else "seeds (paired t)"
    caption = f"Difference in test {analysis.name} to {analysis.best}. Bars: 95% intervals over {over}."
    axis = Axis(f"difference in test {analysis.name}")
    return [make_figure("forest", caption, partial(draw_intervals, bars, axis, zero=True, styles=analysis.styles))]


def _difference_table(analysis: Analysis, found: Sequence[Difference]) -> Table:
    """Return the differences; a column that none of them has is left out."""
    every = [
        (
            "difference",
            True,
            [TableCell(format_difference(one.mean), one.mean) if one.n else TableCell(NONE) for one in found],
        ),
        ("95% over seeds", True, [_spread(one.interval) for one in found]),
        ("95% bootstrap", True, [_spread(one.bootstrap) for one in found]),
        ("p, Holm", True, [TableCell(format_probability(one.adjusted), one.adjusted) for one in found]),
        (
            "Hedges' g",
            True,
            [TableCell(NONE if one.effect is None else f"{one.effect:+.2f}", one.effect) for one in found],
        ),
        ("pairs", True, [TableCell(str(one.n), one.n) for one in found]),
        ("told apart", False, [TableCell("yes" if one.apart else "no") for one in found]),
    ]
    kept = [column for column in every if any(cell.text != NONE for cell in column[2])]
    rows = [[TableCell(one.label), *(cells[place] for *_, cells in kept)] for place, one in enumerate(found)]
    columns = [("strategy", False), *((title, numeric) for title, numeric, _ in kept)]
    return Table(
        "differences", f"Paired differences in test {analysis.name}: the strategy less {analysis.best}", columns, rows
    )


def _spread(found: Interval | None) -> TableCell:
    return TableCell(format_interval(found.low, found.high, "+"), found.low) if found else TableCell(NONE)


def _describe_evidence(analysis: Analysis) -> str:
    """Return how the differences were judged."""
    low, high = analysis.metric.difference_bounds
    ends = f" Intervals end at {low:g} and {high:g}, beyond which no difference lies." if math.isfinite(high) else ""
    pair = "the same seed" if len(analysis.blocks) == 1 else "the same seed and block"
    return (
        f"A pair is two runs of {pair}: they saw the same samples in the same order. Over seeds: Student's t of the "
        "paired differences. Bootstrap: seeds and test samples drawn anew, so it speaks of other test samples of the "
        "same kind as well. With three rivals or more each spread over seeds is drawn towards the common one, as far "
        "as they agree (moderated t, Smyth 2004). p: t-test of the paired differences, adjusted for the number of "
        "rivals by Holm's method. "
        "Hedges' g: the mean difference in standard deviations of the differences, corrected for few pairs. Told "
        f"apart: by each of t-test and bootstrap that there is, at the 5% level over all rivals together.{ends}"
    )


def make_ranks(analysis: Analysis) -> Section | None:
    """Return average ranks over the blocks with their test, or why there is none."""
    found = analysis.ranks
    if found is None:
        return None
    parts: list[Part] = _diagram(analysis, found)
    if found.statistic is not None:
        test = f"F = {found.statistic:.2f}, p = {format_probability(found.p)}"
        parts.append(Text(f"Friedman's test in the form of Iman and Davenport: {test} (Demsar 2006)."))
    if found.why:
        parts.append(Text(f"There is no test of the average ranks, which stand under Results: {found.why}"))
    missing = [label for label in analysis.labels if label not in found.average]
    if missing:
        parts.append(Text(f"Without a result in every block, so not ranked: {join_names(missing)}."))
    return Section("ranks", "Ranks", parts)


def _diagram(analysis: Analysis, found: AverageRanks) -> list[Part]:
    """Return Demsar's critical-difference diagram; without a critical difference there is none."""
    if found.critical is None or len(found.average) > MOST_DRAWN:
        return []
    caption = (
        f"Average ranks over {found.n} blocks, 1 is best. A bar joins strategies that are not told apart: "
        f"their ranks differ by less than the critical difference {found.critical:.2f} (Nemenyi, 5%)."
    )
    draw = partial(draw_ranking, found.average, found.critical, found.cliques, styles=analysis.styles)
    return [make_figure("ranking", caption, draw)]
