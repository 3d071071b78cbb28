"""The verdict: which strategy is best, which cannot be told apart from it, and the cheapest of those."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frostline.report.statistics.bootstrap import FEWEST_FREEDOM
from frostline.report.statistics.differences import Difference, Scores, find_leader
from frostline.report.statistics.estimates import estimate, group_by_block
from frostline.report.statistics.ranking import AverageRanks
from frostline.tasks.declarations import Metric
from frostline.units import format_score

FEW_NAMES = 4
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Verdict:
    """``ties`` are the labels that cannot be told apart from ``best``; ``cheapest`` is one of these or the best itself.

    All are empty where no run finished.
    """

    sentence: str
    best: str | None
    ties: tuple[str, ...]
    cheapest: str | None


def reach_verdict(
    scores: Scores,
    differences: Sequence[Difference],
    ranks: AverageRanks | None,
    costs: Mapping[str, float],
    cost_name: str,
    metric: Metric,
    failures: Mapping[str, int],
) -> Verdict:
    """Return what may be said. ``differences`` are those from the leader, ``failures`` counts runs without a result.

    Costs are averages over the same blocks for every label; a label without one is never called the cheapest.
    """
    best = differences[0].reference if differences else find_leader(scores, metric)
    if best is None:
        return Verdict(f"No run finished, so there is nothing to compare.{_describe_failed(failures)}", None, (), None)
    compared = sorted((one for one in differences if one.n), key=lambda one: -metric.sign * one.mean)
    ties = [one for one in compared if not one.apart]
    names = [best, *(one.label for one in ties)]
    priced = [label for label in names if label in costs] if _could_judge(compared) or not compared else []
    cheapest = min(priced, key=lambda label: costs[label], default=None)
    said = [
        _describe_best(scores, best, metric, alone=not differences),
        *_describe_ties(compared, [one.label for one in ties]),
        *_describe_cheapest(names, cheapest, costs, cost_name),
        *_describe_evidence(scores, best, compared, ranks),
        *_each_block(scores, best, metric),
        *_describe_ranks(ranks),
        *_describe_incomplete(
            scores, differences, [one.label for one in compared if one.apart and metric.sign * one.mean > 0]
        ),
    ]
    return Verdict(" ".join(said) + _describe_failed(failures), best, tuple(names[1:]), cheapest)


def _could_judge(compared: Sequence[Difference]) -> bool:
    """Return whether any difference could be tested at all."""
    return any(one.p is not None or one.bootstrap for one in compared)


def _describe_best(scores: Scores, best: str, metric: Metric, alone: bool) -> str:
    found = estimate(scores[best])
    blocks = group_by_block(scores[best])
    interval = found.interval() if _seeds(scores, best) > 2 else None
    if interval:
        interval = interval.within(metric.bounds)
    range_ = f"95% interval {format_score(interval.low)} to {format_score(interval.high)}, " if interval else ""
    over = f" over {len(blocks)} blocks" if len(blocks) > 1 else ""
    superlative = "lowest" if metric.lower_is_better else "best"
    what = f"{'mean ' if found.n > 1 else ''}test {metric.title}{over}"
    value = f"{format_score(found.mean)} ({range_}{_runs(blocks)})"
    if alone:
        return f"{best} has a {what} of {value}; there is no other strategy to compare it with."
    return f"{best} has the {superlative} {what}: {value}."


def _seeds(scores: Scores, label: str) -> int:
    """Return the seeds that a label has in every block, at least."""
    return min(len(seeds) for seeds in group_by_block(scores[label]).values())


def _runs(blocks: Mapping[str, Sequence[float]]) -> str:
    counts = {len(seeds) for seeds in blocks.values()}
    if len(counts) > 1:
        return f"{sum(len(seeds) for seeds in blocks.values())} runs"
    seeds = _count(counts.pop(), "seed")
    return f"{seeds} in each" if len(blocks) > 1 else seeds


def _describe_ties(compared: Sequence[Difference], ties: Sequence[str]) -> list[str]:
    """Return who stands beside the best."""
    if not compared:
        return []
    if not _could_judge(compared):
        return ["Whether another one is truly worse cannot be told."]
    if not ties:
        return [f"It can be told apart from {'the other one' if len(compared) == 1 else 'all others'}."]
    if len(ties) == len(compared) > 1:
        return [f"None of the other {_number(len(ties))} can be told apart from it."]
    return [f"{_list_names(ties)} cannot be told apart from it."]


def _describe_cheapest(
    names: Sequence[str], cheapest: str | None, costs: Mapping[str, float], cost_name: str
) -> list[str]:
    """Return which of the best and its equals, ``names`` in this order, costs least."""
    if len(names) == 1 or cheapest is None:
        return []
    best = names[0]
    among = "the two" if len(names) == 2 else f"these {_number(len(names))}"
    if cheapest == best:
        return [f"{best} is also the cheapest of {among} in {cost_name}."]
    share = f", at {_percent(costs[cheapest] / costs[best])} of {best}'s" if costs.get(best) else ""
    return [f"The cheapest of {among} in {cost_name} is {cheapest}{share}."]


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1%"


def _describe_evidence(
    scores: Scores, best: str, compared: Sequence[Difference], ranks: AverageRanks | None
) -> list[str]:
    """Return on what evidence strategies were told apart, and what it cannot show."""
    if not compared:
        return []
    drawn = any(one.bootstrap for one in compared)
    if len(scores[best]) - len(group_by_block(scores[best])) < FEWEST_FREEDOM:
        if ranks and ranks.p is not None:
            return ["One seed in a block says nothing about chance; the ranks over the blocks do."]
        return [_hint(_seeds(scores, best), drawn)]
    if any(one.p is not None for one in compared):
        samples = " and a bootstrap over seeds and test samples" if drawn else ""
        return [f"Judged by paired t-tests (Holm's correction, 5% level){samples}."]
    said = [] if compared[0].why is None else [compared[0].why]
    return [*said, "Judged by a bootstrap over seeds and test samples instead (5% level)."] if drawn else said


def _hint(seeds: int, drawn: bool) -> str:
    """Return what one or two seeds are worth."""
    known = "; only the chance of the test samples was judged, by a bootstrap" if drawn else ""
    if seeds == 1:
        return f"This is a hint and no finding: with one seed, what another would change is not known{known}."
    return "This is a hint and no finding: two seeds hardly show what another would change."


def _each_block(scores: Scores, best: str, metric: Metric) -> list[str]:
    """Return whether the best overall is the best in each block, and where not, who is."""
    blocks = list(group_by_block(scores[best]))
    if len(blocks) < 2 or len([label for label in scores if scores[label]]) < 2:
        return []
    lost = {block: label for block in blocks if (label := _leader_of(scores, block, metric)) != best}
    if not lost:
        return [f"{best} has the best mean in each of the {_number(len(blocks))} blocks."]
    won = _number(len(blocks) - len(lost))
    leaders = ", ".join(f"{label} leads in {block}" for block, label in lost.items())
    others = f"; {leaders}" if len(lost) <= FEW_NAMES else ""
    return [f"{best} has the best mean in {won} of the {_number(len(blocks))} blocks{others}."]


def _leader_of(scores: Scores, block: str, metric: Metric) -> str | None:
    """Return who is best in one block."""
    inside = {label: {key: one for key, one in found.items() if key[0] == block} for label, found in scores.items()}
    return find_leader(inside, metric)


def _describe_ranks(ranks: AverageRanks | None) -> list[str]:
    """Return what the ranks over the blocks say, where there are blocks enough to test them."""
    if ranks is None or ranks.p is None:
        return []
    names = list(ranks.average)
    head = f"By rank over {ranks.n} blocks"
    p = "p < 0.001" if ranks.p < 0.001 else f"p = {ranks.p:.3f}"
    if ranks.p >= 0.05:
        return [f"{head} no strategy can be told apart from another (Friedman, {p})."]
    near = [name for group in ranks.cliques if names[0] in group for name in group if name != names[0]]
    beside = f"; {_list_names(near)} cannot be told apart from it (Nemenyi)" if near else ""
    return [f"{head}, {names[0]} comes first (Friedman, {p}){beside}."]


def _describe_incomplete(scores: Scores, differences: Sequence[Difference], ahead: Sequence[str]) -> list[str]:
    """Return how strategies with missing runs were compared."""
    most = max(len(found) for found in scores.values())
    lacking = [label for label, found in scores.items() if 0 < len(found) < most]
    strangers = [one.label for one in differences if not one.n]
    said = []
    if lacking:
        do, be = ("lacks", "is") if len(lacking) == 1 else ("lack", "are")
        said.append(f"{_list_names(lacking)} {do} runs and {be} compared on those that both sides have.")
    if ahead:
        said.append(f"On these, {_list_names(ahead)} did better than the best over all.")
    if strangers:
        said.append(f"{_list_names(strangers)} shared no run with the best, so nothing was compared.")
    return said


def _describe_failed(failures: Mapping[str, int]) -> str:
    found = [f"{label} {count}" for label, count in failures.items() if count]
    return f" Runs without a result: {_list_names(found)}." if found else ""


def _list_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
