"""The race: who goes on next and how far, who stops, and when it is over. Decided from what is known, and nothing else.

The same facts give the same decision, so that a race can be replayed from its records.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from frostline.advice.foretell import Outlook, foretell_outlook, foretell_ratio, interpolate

UNLIKELY = 0.1
"""Who wins by more than what matters with a smaller chance than this stops."""
RUNGS = (0.2, 0.5, 1.0)
"""The shares of its epochs after which a candidate pauses, to be judged beside the others."""


@dataclass(frozen=True)
class Racer:
    """A candidate in the race: how far it is, what it has come to, and what it takes.

    ``error`` is its best one on validation so far, ``parts`` what that is made of (`frostline.tasks.judge`); ``curve``
    has the best error so far after each epoch that has a row. ``seconds`` are those of an epoch, ``start`` those of
    getting to its first one, both of them foretold until they are measured. ``out`` says why it is no longer in it.
    """

    name: str
    epochs: int
    seconds: float
    start: float
    done: int = 0
    error: float | None = None
    parts: Sequence[float] = ()
    is_mean: bool = True
    curve: Mapping[int, float] = field(default_factory=dict)
    out: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it has come to the end of its plan."""
        return self.done >= self.epochs

    @property
    def share(self) -> float:
        """The share of its epochs that are done."""
        return self.done / self.epochs

    def next_rung(self) -> int:
        """Return the epochs after which it pauses next."""
        rungs = [max(1, math.ceil(share * self.epochs)) for share in RUNGS]
        return next((rung for rung in rungs if rung > self.done), self.epochs)

    def cost(self, epochs: int) -> float:
        """Return the seconds that it takes to come to so many epochs."""
        return self.start + (epochs - self.done) * self.seconds


@dataclass(frozen=True)
class Move:
    """A decision: who goes on, up to how many epochs, and why."""

    name: str
    until: int
    reason: str


@dataclass(frozen=True)
class Race:
    """The state of a race. ``least`` is the difference that matters, ``running`` are the names of those on the way."""

    racers: Mapping[str, Racer]
    least: float
    running: frozenset[str] = frozenset()

    def find_leader(self) -> Racer | None:
        """Return who has the least error on validation, of equals the one that took least; None before the first."""
        known = [one for one in self.racers.values() if one.error is not None]
        return min(known, key=lambda one: (one.error, one.done * one.seconds), default=None)

    def list_seen(self) -> list[tuple[float, float]]:
        """Return, for each racer that went on after a rung, what was foretold of its gain then and what it became."""
        found = []
        for one in self.racers.values():
            places = sorted(one.curve)
            for before in places[:-1]:
                told = interpolate((before + 1) / one.epochs)[0] - interpolate((places[-1] + 1) / one.epochs)[0]
                first, last = one.curve[before], one.curve[places[-1]]
                if told < 0 and first > 0 and last > 0:
                    found.append((told, math.log(last / first)))
                    break
        return found

    def judge(self, racer: Racer, leader: Racer) -> Outlook:
        """Return the outlook of a racer against the leader."""
        assert leader.error is not None
        error = leader.error if racer.error is None else racer.error
        noise = measure_noise(racer, leader)
        ratio = foretell_ratio(racer.share if racer.error is not None else 0.0, self.list_seen())
        return foretell_outlook(error, leader.error, ratio, noise, self.least)

    def drop(self) -> tuple["Race", list[tuple[str, str]]]:
        """Return the race without those who are unlikely to win, and their names with the reasons."""
        leader, dropped = self.find_leader(), []
        if leader is None:
            return self, []
        racers = dict(self.racers)
        for name, one in self.racers.items():
            if one is leader or one.out is not None or one.ended or name in self.running or one.error is None:
                continue
            outlook = self.judge(one, leader)
            if outlook.chance < UNLIKELY:
                reason = f"{100 * outlook.chance:.0f}% likely to beat {leader.name} by more than {self.least:g}"
                racers[name] = replace(one, out=reason)
                dropped.append((name, reason))
        return replace(self, racers=racers), dropped

    def choose_move(self, left: float, workers: int = 1) -> Move | None:
        """Return who goes on next within the seconds that are ``left``, None where nobody is worth it or can.

        That is who gains most on average for each second to its end. Where the way to the next rung is too long, it
        goes as far as the time allows; the first of all goes first whatever it promises.
        """
        waiting = [
            one
            for one in self.racers.values()
            if one.out is None and not one.ended and one.name not in self.running and one.cost(one.done + 1) <= left
        ]
        if not waiting:
            return None
        leader = self.find_leader()
        if leader is None:
            first = min(waiting, key=lambda one: one.cost(one.epochs))
            return Move(first.name, self._reach(first, left), "the cheapest goes first")
        outlooks = {one.name: self.judge(one, leader) for one in waiting}
        likely = [one for one in waiting if outlooks[one.name].chance >= UNLIKELY or one is leader]
        if not likely:
            return None
        best = max(likely, key=lambda one: outlooks[one.name].gain / one.cost(one.epochs))
        outlook = outlooks[best.name]
        why = (
            f"gains {outlook.gain:.4f} on average over {leader.name}, for {best.cost(best.epochs):.0f} s to its end"
            if best is not leader
            else "leads, and is not at its end"
        )
        return Move(best.name, self._reach(best, left), why)

    def _reach(self, racer: Racer, left: float) -> int:
        room = int((left - racer.start) / racer.seconds) if racer.seconds > 0 else racer.epochs
        return max(racer.done + 1, min(racer.next_rung(), racer.done + room))

    def describe(self) -> dict[str, Any]:
        """Return what is known of each racer, for the records."""
        leader = self.find_leader()
        found = {}
        for name, one in self.racers.items():
            row: dict[str, Any] = {"done": one.done, "error": one.error, "out": one.out}
            if leader is not None and one is not leader:
                outlook = self.judge(one, leader)
                row |= {"gain": outlook.gain, "chance": outlook.chance}
            found[name] = row
        return found


def measure_noise(one: Racer, other: Racer) -> float:
    """Return the standard error of the difference of two racers' scores on the same validation samples.

    Where a sample counts 0 or 1 one more sample is said to tell them apart: none at all would be certainty.
    """
    if not len(one.parts) or len(one.parts) != len(other.parts):
        parts = np.asarray(other.parts, dtype=float)
        return float(parts.std() / math.sqrt(len(parts))) if other.is_mean and len(parts) else 0.0
    apart = np.asarray(one.parts, dtype=float) - np.asarray(other.parts, dtype=float)
    count = len(apart)
    if not one.is_mean:
        return math.sqrt((count - 1) / count * float(((apart - apart.mean()) ** 2).sum()))
    if set(np.unique(apart)) <= {-1.0, 0.0, 1.0}:
        return math.sqrt(float((apart != 0).sum()) + 1) / count
    return float(apart.std(ddof=1) / math.sqrt(count)) if count > 1 else 0.0
