"""What is shown of a depth profile wherever it is: the sentence, the picture along the network, what they are worth."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from frostline.profiles.record import find_first_alike, is_alike, is_better
from frostline.report.page.charts import Axis, Bar, Reading, depth_chart
from frostline.report.page.parts import Figure, make_figure
from frostline.units import format_interval, format_score

Content = Mapping[str, Any]
PROBE = "solved probe"


def write_verdict(content: Content) -> str:
    """Return where the network knows most, from where on that is so, and whether joining depths gives more."""
    taps, best = content["taps"], content["best"]
    if best is None:
        return f"No depth of this network has a validation {content['metric']['title']}, so there is nothing to say."
    top, end, first = taps[best], taps[-1], find_first_alike(taps)
    lines = [f"Frozen, this network is read best at {top['name']}: validation {name_score(content, top['probe'])}."]
    if best != len(taps) - 1:
        known = "cannot be told from it" if is_alike(end["probe"]) else "is behind it by more than chance"
        lines.append(f"The network's end, {name_score(content, end['probe'])}, {known}.")
    if first is not None and first != best:
        lines.append(f"{taps[first]['name']} is the first depth that cannot be told from the best one.")
    for one in content["joined"][:1]:
        gap = one["probe"]["gap"]
        said = "cannot be told from the best single depth"
        if gap is not None and not is_alike(one["probe"]):
            said = f"{'beats' if is_better(one['probe']) else 'is behind'} the best single depth by more than chance"
        lines.append(f"All depths joined, {name_score(content, one['probe'])}, {said}.")
    return f"{lines[0]}\n{' '.join(lines[1:])}"


def name_score(content: Content, reading: Content) -> str:
    """Return a reading's score with its interval, and what it is called."""
    spread = reading["interval"]
    ends = f" {format_interval(spread['low'], spread['high'])}" if spread else ""
    return f"{content['metric']['title']} {format_score(reading['value'])}{ends}"


def make_depth_figure(content: Content, id: str, where: str = "") -> Figure:
    """Return the picture: probe and neighbours along the network, joined heads as lines; ``where`` ends its caption."""
    metric, taps = content["metric"], content["taps"]
    names = [tap["name"] for tap in taps]
    readings = [
        _make_reading(PROBE, [tap["probe"] for tap in taps]),
        _make_reading(name_neighbours(content), [tap["neighbours"] for tap in taps]),
    ]
    known = [one for one in content["joined"] if one["probe"]["value"] is not None]
    joined = [
        Bar(f"joined: {one['name']}", one["probe"]["value"], *(_read_ends(one["probe"]) or (math.nan, math.nan)))
        for one in known
    ]
    axis = Axis(f"validation {metric['title']}")
    draw = partial(depth_chart, names, readings, axis, joined, lower_is_better=metric["lower_is_better"])
    caption = (
        f"Validation {metric['title']} at each depth{where}, from the input to the output; ringed is the best of each. "
        "Joined heads read several depths at once. Bars and bands are 95% intervals."
    )
    return make_figure(id, caption, draw)


def say_what_depths_are_worth(content: Content) -> str:
    """Return what the best depth and the intervals of a profile say, and what they do not."""
    worth = "least" if content["metric"]["lower_is_better"] else "largest"
    return (
        f"The best depth is the {worth} of {len(content['taps'])} noisy values, and it was picked on the very samples "
        "that it is shown for, as were the probes' penalties: part of it is luck, so expect a little less of it on "
        "others. The test split was not looked at. An interval covers the chance of the validation samples: that "
        "others of their kind had been drawn. It covers neither other training samples nor the choice of the best."
    )


def _make_reading(name: str, found: Sequence[Content]) -> Reading:
    ends = [_read_ends(one) for one in found]
    lows, highs = ([None if pair is None else pair[place] for pair in ends] for place in (0, 1))
    return Reading(name, [one["value"] for one in found], lows, highs)


def _read_ends(reading: Content) -> tuple[float, float] | None:
    spread = reading["interval"]
    return None if spread is None else (spread["low"], spread["high"])


def name_neighbours(content: Content) -> str:
    """Return what the reading by neighbours is called."""
    return f"{content['neighbours']} nearest neighbours"
