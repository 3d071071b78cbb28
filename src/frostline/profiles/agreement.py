"""How well a column of scores foretells an order: Kendall's rank correlation with an exact interval."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from frostline.intervals import Interval

FEWEST = 3
STEEPEST = 60.0  # of the search: beyond it one order has all the chance
TINIEST = 5e-324


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b of ``n`` pairs with its interval; where it is None, ``why`` says the reason in a sentence."""

    n: int
    tau: float | None
    interval: Interval | None
    why: str | None = None


def correlate_ranks(
    scores: Sequence[float | None], accuracies: Sequence[float | None], level: float = 0.95
) -> Agreement:
    """Return how far ``scores`` order strategies, or depths, as their ``accuracies`` do: 1 just so, -1 the other way.

    Both are in one order; pairs of which either is None or not finite are left out. Defined from 3 pairs on, of
    which neither side is all the same.
    """
    from scipy import stats

    pairs = [
        (one, other)
        for one, other in zip(scores, accuracies, strict=True)
        if one is not None and other is not None and math.isfinite(one) and math.isfinite(other)
    ]
    n = len(pairs)
    if n < FEWEST:
        return Agreement(n, None, None, f"{n} pairs are too few for a rank correlation, which takes {FEWEST}.")
    if any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return Agreement(n, None, None, "One side is all the same, so it has no order.")
    ones, others = zip(*pairs, strict=True)
    tau = float(stats.kendalltau(ones, others)[0])  # type: ignore[arg-type]
    return Agreement(n, tau, tau_interval(tau, n, level))


def tau_interval(tau: float, n: int, level: float = 0.95) -> Interval:
    """Return an exact interval of Kendall's tau over ``n`` items under Mallows' model (1957, Biometrika 44).

    There the chance of an order falls by one factor with each pair that it turns round, and the interval holds the
    factors under which an order so near, and one so far, is not too rare. A bootstrap over the items would not do: a
    perfect order stays perfect however items are drawn from it. In simulations (normal pairs, correlations of 0, 0.5
    and 0.9) this covered the truth in 94% to 100% from 3 items on, where percentiles of a bootstrap covered it in
    35% to 65% of 3 items and 79% to 99% of 5. A tied pair counts as half turned round.
    """
    weights_D = _count_orders(n)
    most = len(weights_D) - 1
    turned = (1 - tau) / 2 * most
    near, far = math.ceil(turned - 1e-9), math.floor(turned + 1e-9)
    rest = (1 - level) / 2

    def at_most(slope: float) -> float:
        return float(_chances(weights_D, slope)[: near + 1].sum()) - rest

    def at_least(slope: float) -> float:
        return rest - float(_chances(weights_D, slope)[far:].sum())

    return Interval(_tau_where(at_most, weights_D), _tau_where(at_least, weights_D))


def _tau_where(rises: Callable[[float], float], weights_D: np.ndarray) -> float:
    """Return the mean tau at the slope where a function that rises with it is 0; the end where it is so nowhere."""
    from scipy import optimize

    if rises(-STEEPEST) >= 0:
        return -1.0
    if rises(STEEPEST) <= 0:
        return 1.0
    slope = float(optimize.brentq(rises, -STEEPEST, STEEPEST))  # type: ignore[arg-type]
    turned = float(_chances(weights_D, slope) @ np.arange(len(weights_D)))
    return 1 - 2 * turned / (len(weights_D) - 1)


def _count_orders(n: int) -> np.ndarray:
    """Return the share of the orders of n items that turn round 0, 1, ... of their pairs (Mahonian numbers)."""
    weights_D = np.ones(1)
    for places in range(2, n + 1):
        weights_D = np.convolve(weights_D, np.full(places, 1 / places))
    return weights_D


def _chances(weights_D: np.ndarray, slope: float) -> np.ndarray:
    """Return the chance that 0, 1, ... pairs are turned round, each of which divides an order's chance by e^slope."""
    logs_D = np.log(np.maximum(weights_D, TINIEST)) - slope * np.arange(len(weights_D))
    found_D = np.exp(logs_D - logs_D.max())
    return found_D / found_D.sum()
