"""What a candidate will come to, foretold from where it stands: its error at the end, and how likely it is to win."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

STANDARD = NormalDist()
UNTRIED = (0.32, 0.66)
"""Mean and deviation of the logarithm of a tuned candidate's last error over that of the joined head, both on
validation. Of 140 runs on fashion, digits, vowels and languages (`benchmarks/foretell.py`)."""
LEFT = {
    0.1: (-1.22, 0.99),
    0.2: (-0.44, 0.58),
    0.3: (-0.33, 0.51),
    0.4: (-0.20, 0.33),
    0.5: (-0.13, 0.23),
    0.6: (-0.07, 0.15),
    0.7: (-0.03, 0.10),
    0.8: (-0.01, 0.06),
    0.9: (0.0, 0.01),
    1.0: (0.0, 0.0),
}
"""Mean and deviation of the logarithm of the error at the end over the best one so far, by the share of epochs that are
done. Of 164 runs on the same sets."""
NODES = 41
"""Places at which what is foretold is summed up."""


@dataclass(frozen=True)
class Outlook:
    """What is foretold of a candidate against the leader: what it gains on average where it wins, and how likely it is
    to win by more than what matters."""

    gain: float
    chance: float


def foretell_ratio(share: float, seen: Sequence[tuple[float, float]] = ()) -> tuple[float, float]:
    """Return mean and deviation of the logarithm of a candidate's last error over its best one so far.

    ``share`` of its epochs are done, more than none.
    ``seen`` has pairs of what others of the same data came to: the mean that was foretold, and what it became. They
    move the mean as much as so many of them weigh beside one that was known before.
    """
    mean, spread = interpolate(share)
    if mean == 0 or not seen:
        return mean, spread
    told, became = (math.fsum(column) for column in zip(*seen, strict=True))
    factor = (mean + became) / (mean + told) if told else 1.0
    return mean * min(max(factor, 0.1), 4.0), spread


def interpolate(share: float) -> tuple[float, float]:
    """Return the mean and deviation of ``LEFT`` at a share of epochs, between its places on a straight line."""
    places = sorted(LEFT)
    mean, spread = (float(np.interp(share, places, [LEFT[place][one] for place in places])) for one in (0, 1))
    return mean, spread


def foretell_outlook(error: float, best: float, ratio: tuple[float, float], noise: float, least: float) -> Outlook:
    """Return the outlook of a candidate with an ``error`` now, against the leader's, ``best``.

    ``ratio`` is that of `foretell_ratio`, ``noise`` the standard error of the difference of the two on validation,
    and ``least`` the difference that matters.
    """
    mean, spread = ratio
    quantiles = (np.arange(NODES) + 0.5) / NODES
    last = error * np.exp(mean + spread * np.array([STANDARD.inv_cdf(float(one)) for one in quantiles]))
    ahead = best - last
    noise = max(noise, 1e-9)
    chances = np.array([STANDARD.cdf(float(one - least) / noise) for one in ahead])
    densities = np.array([STANDARD.pdf(float(one) / noise) for one in ahead])
    shares = np.array([STANDARD.cdf(float(one) / noise) for one in ahead])
    return Outlook(float((ahead * shares + noise * densities).mean()), float(chances.mean()))
