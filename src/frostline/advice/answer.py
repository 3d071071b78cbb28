"""What a race comes to: who cannot be told apart, what to expect of the best, and what each price buys."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frostline.advice.race import UNLIKELY, Race, Racer
from frostline.advice.trials import Trial, Trials
from frostline.intervals import Interval, normal_quantile, share_interval
from frostline.launchers.dispatch import Outcome
from frostline.results.prices import list_prices
from frostline.tasks.declarations import Metric

LEVEL = 0.9
"""How sure the statements of an answer are."""
DRAWS = 1000
"""Bootstrap samples of the validation samples."""


@dataclass(frozen=True)
class Expectation:
    """What a score will be on samples like those of validation: its ``value``, and the ``interval`` at ``LEVEL``."""

    value: float
    interval: Interval


def expect_score(parts: Mapping[str, np.ndarray], metric: Metric, test: int) -> Expectation | None:
    """Return what to expect on ``test`` other samples of who is best on validation, though it was picked there.

    ``parts`` has each candidate's score of each validation sample [N]. Samples are drawn with replacement; the best on
    those that were drawn is judged on those that were not (BBC-CV, Tsamardinos et al. 2018, Machine Learning 107).
    The interval is that of a mean of ``test`` samples: it has the chance of both samples in it. None of fewer than 5.
    """
    names = [name for name, values in parts.items() if len(values)]
    counts = {len(parts[name]) for name in names}
    if len(counts) != 1 or (count := counts.pop()) < 5:
        return None
    table = np.stack([parts[name] for name in names])  # [K, N]
    generator = np.random.default_rng(0)
    outside, spreads = [], []
    for _ in range(DRAWS):
        drawn = generator.integers(count, size=count)
        left = np.setdiff1d(np.arange(count), drawn)
        if len(left) < 2:
            continue
        best = int(np.argmax(metric.sign * table[:, drawn].mean(axis=1)))
        outside.append(table[best, left].mean())
        spreads.append(table[best, drawn].mean())
    value = float(np.mean(outside))
    error = float(np.std(spreads, ddof=1))
    picked = table[int(np.argmax(metric.sign * table.mean(axis=1)))]
    if set(np.unique(table)) <= {0.0, 1.0}:  # a share has a width where all are right, too
        own = share_interval(round(value * count), count, LEVEL)
        error = max(error, (own.high - own.low) / 2 / normal_quantile(LEVEL))
        share = (value * count + 1) / (count + 2)
        spread = float(np.sqrt(share * (1 - share)))
    else:
        spread = float(picked.std(ddof=1))
    reach = normal_quantile(LEVEL) * float(np.hypot(error, spread / np.sqrt(max(test, 1))))
    return Expectation(value, Interval(value - reach, value + reach).within(metric.bounds))


def list_alike(race: Race) -> list[Racer]:
    """Return those whom the validation samples cannot tell from the leader, the leader first: the best, as far as one
    can say. Who is not at its end is judged by where it stands.
    """
    known = [(one.error, one) for one in race.racers if one.error is not None and not one.behind]
    least = min((error for error, _ in known), default=0.0)
    near = [
        (error, one) for error, one in known if error == least or error - least <= normal_quantile(LEVEL) * one.noise
    ]
    return [one for _, one in sorted(near, key=lambda row: row[0])]


def list_open(race: Race) -> list[tuple[Racer, float, float]]:
    """Return who might still win: each with the seconds to its end, and how likely it would then be ahead."""
    if race.find_leader() is None:
        return []
    going = [one for one in race.racers if one.out is None and not one.ended]
    found = [(one, one.find_cost(one.epochs), race.foresee(one).chance) for one in going]
    return sorted((row for row in found if row[2] >= UNLIKELY), key=lambda row: -row[2] / row[1])


def describe_answer(trials: Trials, one: Trial, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Return what is known of the answer, ``one`` of the trials with its test's ``outcome``, as advice.json has it.

    ``folder`` is the advice's, from which the run's path leads.
    """
    race, standings = trials.read_race(), {each.name: trials.read_standing(each) for each in trials.racing}
    sign, standing = trials.metric.sign, trials.read_standing(one)
    parts = {name: each.parts for name, each in standings.items() if each.is_mean}
    expected = expect_score(parts, trials.metric, one.fact["counts"]["test"])
    rows = [{"name": each.name, "seconds": each.seconds, "value": standings[each.name].value} for each in trials.racing]
    return {
        "name": one.name,
        "strategy": one.candidate.level.name,
        "rate": one.rate,
        "seed": one.seed,
        "epochs": standing.done,
        "planned": one.epochs,
        "id": outcome.id,
        "path": os.path.relpath(outcome.folder, folder),
        "validation": standing.value,
        "expected": None if expected is None else {"value": expected.value, **asdict(expected.interval)},
        "level": LEVEL,
        "test": outcome.record["metrics"].get("test", {}).get(trials.metric.name),
        "alike": [each.name for each in list_alike(race)],
        "noises": {each.name: each.noise for each in list_alike(race)},
        "prices": list_prices(rows, sign),
        "open": [{"name": each.name, "seconds": left, "chance": chance} for each, left, chance in list_open(race)],
    }
