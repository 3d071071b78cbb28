"""Odd samples: far larger or smaller than others, blank, or unusable."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np
from torch import Tensor

from frostline.data.examination.facts import Contents, Extremes, Named
from frostline.data.examination.names import NAMES, name_samples, show_name
from frostline.data.loading import Oddity, Split
from frostline.data.order import draw_permutation

DEVIATIONS = 5
"""Median absolute deviations, on a log scale, beyond which a sample is unlike the others."""

FACTOR = 4.0
"""What is less than so many times as large or small as the median is like the others, however alike they are."""

AT_ONCE = 1024
"""Samples that are decoded together at most; at first it is one, then twice as many each time."""

Find = Callable[[Tensor], list[Oddity | None]]


def find_extremes(
    unit: str, sizes: Mapping[str, Mapping[str, Sequence[float]]], splits: Mapping[str, Split]
) -> Extremes | None:
    """Return the samples that are unlike those of train by the ``unit`` in which all were measured; None without any.

    ``sizes`` are what each split measured of its samples.
    """
    values = {name: each[unit] for name, each in sizes.items()}
    usual = median(values["train"])
    if usual <= 0:
        return None
    reach = find_reach(np.asarray(values["train"], dtype=float))
    odd = {name: list_far(each, usual, reach) for name, each in values.items()}
    theirs = [values[name][place] for name, places in odd.items() for place in places]
    if not theirs:
        return None
    named = {name: name_samples(splits[name].names, places) for name, places in odd.items() if places}
    return Extremes(unit=unit, median=usual, low=min(theirs), high=max(theirs), splits=named)


def list_far(values: Sequence[float], usual: float, reach: float) -> list[int]:
    """Return the places of the values whose logarithm is farther than ``reach`` from that of ``usual``; farthest first.

    A size of 0 is not small but says that a sample is empty.
    """
    far = {place: abs(math.log(value / usual)) for place, value in enumerate(values) if value > 0}
    return sorted((place for place in far if far[place] > reach), key=lambda place: -far[place])


def find_reach(values_N: np.ndarray) -> float:
    """Return how far a sample's logarithm may be from that of the median, by sizes [N]; those of 0 do not count."""
    logs_N = np.log(values_N[values_N > 0])
    deviation = float(np.median(np.abs(logs_N - np.median(logs_N)))) if len(logs_N) else 0.0
    return max(DEVIATIONS * deviation, math.log(FACTOR))


def look_at_contents(splits: Mapping[str, Split], seconds: float, seed: int) -> dict[str, Contents]:
    """Return what is odd in samples that are decoded for it, by split.

    Each split has an even share of so many seconds, what a small one leaves going to the larger; the order is drawn. At
    least one sample of each is looked at.
    """
    end, left, found = time.monotonic() + seconds, len(splits), {}
    for name, split in sorted(splits.items(), key=lambda pair: len(pair[1])):
        now = time.monotonic()
        order = draw_permutation(len(split), seed, "examine", name)
        found[name] = _look_at(split, order, now + max(end - now, 0.0) / left)
        left -= 1
    return {name: found[name] for name in splits}


def _look_at(split: Split, order: Tensor, end: float) -> Contents:
    """Return what is odd in a split's samples, looked at in this ``order`` until ``end`` of `time.monotonic`."""
    find, done, size = split.find_oddities, 0, 1
    odd: list[tuple[int, Oddity]] = []
    while done < len(order) and size > 0:
        began, batch = time.monotonic(), order[done : done + size]
        odd += [(place, one) for place, one in zip(batch.tolist(), try_each(find, batch), strict=True) if one]
        done += len(batch)
        now = time.monotonic()
        each = max(now - began, 1e-9) / len(batch)
        size = min(AT_ONCE, 2 * len(batch), int((end - now) / each / 2))  # half of what there seems to be time for
    odd.sort(key=lambda pair: pair[0])
    kinds = [[(split.names[place], one.text) for place, one in odd if one.unusable is kind] for kind in (True, False)]
    unusable, blank = (
        Named(count=len(kind), names=[show_name(f"{name} {text}") for name, text in kind[:NAMES]]) for kind in kinds
    )
    return Contents(looked_at=done, unusable=unusable, blank=blank)


def try_each(find: Find, indices: Tensor) -> list[Oddity | None]:
    """Return what ``find`` says of samples; one that it cannot read, whatever it raises, is unusable."""
    try:
        return find(indices)
    except Exception as error:  # what reads samples of the user's own can raise anything
        if len(indices) > 1:
            return [found for index in indices for found in try_each(find, index[None])]
        return [Oddity(True, f"cannot be read ({type(error).__name__}: {error})")]
