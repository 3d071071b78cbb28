"""How well what a frozen network knows foretold the order of strategies: each at the depth where its frozen part ends.

A strategy stands at the deepest tap that no group it ever trains has a part in; what a column of the depth profile
says there is set beside the strategy's test score. That is what could be known before anything was trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frostline.profiles.agreement import Agreement, correlate_ranks
from frostline.profiles.record import SCORES
from frostline.report.read.comparison import Comparison
from frostline.report.read.profiles import CellProfile, Profile
from frostline.report.read.runs import Block, RunSummary, as_object, look_up, parse_shared
from frostline.report.statistics.analysis import Analysis

READINGS = ("probe", "neighbours")
COLUMNS = (*READINGS, *SCORES)
"""The columns of a depth profile, by their names in profile.json."""

TRAINS_ALL = "it trains the network from its first layers on, so nothing of it stays frozen"


@dataclass(frozen=True)
class PlacedStrategy:
    """A strategy at the tap ``tap``, the depth where its frozen part ends: what each column says there.

    ``score`` is its mean test score. A column without a value is None.
    """

    label: str
    tap: str
    columns: Mapping[str, float | None]
    score: float


@dataclass(frozen=True)
class Foretelling:
    """One block: the strategies that have a place, the best first; why each other has none; and each column's worth.

    ``agreements`` is Kendall's rank correlation of each column with the test score, both turned so that more is better.
    """

    placed: Sequence[PlacedStrategy]
    left_out: Mapping[str, str]
    agreements: Mapping[str, Agreement]


def foretell(analysis: Analysis, block: Block) -> Foretelling:
    """Return how the columns of the depth profiles order the strategies of a block."""
    profiles = find_profiles(analysis, block)
    placed, left_out = list[PlacedStrategy](), dict[str, str]()
    signs: dict[str, int] = {}
    for label in analysis.labels:
        runs, score = analysis.cell(label, block), analysis.score(label, block)
        one = profiles.get(label)
        if not runs or score is None:
            left_out[label] = "it has no result"
        elif one is None or one.content is None:
            left_out[label] = "its network has no depth profile"
        elif (depth := find_frozen_depth(runs[0], one.content)) is None:
            left_out[label] = explain_left_out(runs[0])
        else:
            signs[label] = -1 if one.content["metric"]["lower_is_better"] else 1
            tap = one.content["taps"][depth]
            columns = {name: tap[name]["value"] for name in COLUMNS}
            placed.append(PlacedStrategy(label, tap["name"], columns, score.mean))
    agreements = {name: _correlate(placed, name, signs, analysis.metric.sign) for name in COLUMNS}
    return Foretelling(placed, left_out, agreements)


def _correlate(placed: Sequence[PlacedStrategy], name: str, signs: Mapping[str, int], sign: int) -> Agreement:
    values = [
        value if value is None or name not in READINGS else signs[one.label] * value
        for one in placed
        for value in [one.columns[name]]
    ]
    return correlate_ranks(values, [sign * one.score for one in placed])


def find_profiles(analysis: Analysis, block: Block) -> dict[str, CellProfile]:
    """Return what is known of the depth profile of each strategy in a block."""
    return {one.label: one for one in analysis.comparison.profiles if one.block == block}


def name_frozen_taps(comparison: Comparison) -> list[str | None]:
    """Return for each run of a comparison the tap to which it stays frozen, None where there is none."""
    contents = {(one.label, one.block): one.content for one in comparison.profiles}
    found = []
    for run in comparison.runs:
        content = contents.get((run.label, run.block))
        depth = None if content is None else find_frozen_depth(run, content)
        found.append(None if content is None or depth is None else content["taps"][depth]["name"])
    return found


def find_frozen_depth(run: RunSummary, profile: Profile) -> int | None:
    """Return the deepest tap of a profile that no training of a run touches; None where there is none.

    None as well for a head that reads several depths, and where the run's network is not the profile's: one with
    random weights.
    """
    frozen = find_frozen_groups(run)
    if reads_depths(run) or is_random(run):
        return None
    return max((depth for depth, tap in enumerate(profile["taps"]) if tap["group"] in frozen), default=None)


def find_frozen_groups(run: RunSummary) -> list[str]:
    """Return the groups below the first that any phase of a run's plan trains."""
    plan = parse_shared(run.plan)
    groups, phases = look_up(plan, "groups"), look_up(plan, "phases")
    trained = {name for phase in _as_list(phases) for name in as_object(look_up(phase, "train"))}
    names = [str(name) for name in _as_list(groups)]
    return names[: next((place for place, name in enumerate(names) if name in trained), len(names))]


def explain_left_out(run: RunSummary) -> str:
    """Return why a run's frozen part ends at no depth of its network's profile."""
    if reads_depths(run):
        return "its head reads several depths at once"
    if is_random(run):
        return "it begins with random weights, and the profile is of others"
    return "no depth is known to lie in what it leaves frozen" if find_frozen_groups(run) else TRAINS_ALL


def reads_depths(run: RunSummary) -> bool:
    """Return whether a run's head is given more than the features."""
    return look_up(parse_shared(run.config), "head", "taps") is not None


def is_random(run: RunSummary) -> bool:
    """Return whether a run's plan begins with random weights."""
    return look_up(parse_shared(run.plan), "pretrained") is False


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
