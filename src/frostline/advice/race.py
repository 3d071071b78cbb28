"""The race: who goes on next and how far, who stops, and when it is over. Decided from what is known, and nothing else.

The same facts give the same decision, so that a race can be replayed from its records.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from frostline.advice.foretell import UNTRIED, Outlook, foretell_outlook, foretell_ratio, interpolate

MEASURED, FORETOLD = 1.25, 2.0
"""So many times what an epoch takes, by those before it or by its FLOPs, may be what it takes in the end."""
UNLIKELY = 0.1
"""Who wins by more than what matters with a smaller chance than this stops."""
RUNGS = (0.2, 0.5, 1.0)
"""The shares of its epochs after which a candidate pauses, to be judged beside the others."""


@dataclass(frozen=True)
class Racer:
    """A candidate in the race: how far it is, what it has come to, and what it takes.

    ``error`` is its best one on validation so far, ``noise`` the standard error of its difference to the leader's on
    the same samples, ``curve`` the best error so far by epoch, for each that has a row. The first ``solved`` of its
    epochs are solved at once. ``seconds`` are those of one that is trained, ``start`` those of getting to the first;
    ``measured`` says whether they are known. ``running`` says whether it is on its way now, ``out`` why it is no longer
    in the race. ``prior`` is what `foretell_ratio` says of one that has not begun; ``behind``
    says whether more seeds have told it from a better one.
    """

    name: str
    epochs: int
    seconds: float
    start: float
    solved: int = 0
    done: int = 0
    error: float | None = None
    noise: float = 0.0
    curve: Mapping[int, float] = field(default_factory=dict)
    prior: tuple[float, float] = UNTRIED
    measured: bool = False
    running: bool = False
    out: str | None = None
    behind: bool = False

    @property
    def ended(self) -> bool:
        """Whether it has come to the end of its plan."""
        return self.done >= self.epochs

    @property
    def can_go_on(self) -> bool:
        """Whether it is there to be chosen."""
        return self.out is None and not self.ended and not self.running

    @property
    def share(self) -> float:
        """The share of its epochs that are done, of those that are trained; 1 where none is."""
        trained = self.epochs - self.solved
        return max(self.done - self.solved, 0) / trained if trained else 1.0

    def find_rung(self) -> int:
        """Return the epochs after which it pauses next."""
        rungs = [self.solved + math.ceil(share * (self.epochs - self.solved)) for share in RUNGS]
        return next((rung for rung in rungs if rung > self.done), self.epochs)

    def find_cost(self, epochs: int) -> float:
        """Return the seconds that it takes to come to so many epochs."""
        return self.start + (epochs - max(self.done, self.solved)) * self.seconds

    def find_room(self, left: float) -> int:
        """Return how many epochs more there is time for, on the careful side: no run is to be cut short."""
        left = left / (MEASURED if self.measured else FORETOLD) - self.start
        if left <= 0:
            return 0
        trained = min(int(left / max(self.seconds, 1e-9)), self.epochs)
        return min(trained + max(self.solved - self.done, 0), self.epochs - self.done)


@dataclass(frozen=True)
class Move:
    """A decision: who goes on, up to how many epochs, and why."""

    name: str
    until: int
    reason: str


@dataclass(frozen=True)
class Race:
    """The state of a race. ``least`` is the difference of errors that matters."""

    racers: Sequence[Racer]
    least: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain containers for JSON."""
        return {"least": self.least, "racers": [asdict(one) for one in self.racers]}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """Return the race that ``to_dict`` told of."""
        racers = [Racer(**row) for row in plain["racers"]]
        curves = [{int(epoch): error for epoch, error in one.curve.items()} for one in racers]
        there = zip(racers, curves, strict=True)
        return cls([replace(one, curve=curve, prior=(*one.prior,)) for one, curve in there], plain["least"])

    def find_leader(self) -> Racer | None:
        """Return who has the least error on validation, of equals the one that took least; None before the first."""
        known = [one for one in self.racers if one.error is not None]
        return min(known, key=lambda one: (one.error, one.done * one.seconds), default=None)

    def list_seen(self) -> list[tuple[float, float]]:
        """Return, for each racer that has two rows, what was foretold of its gain since the first and what it became.

        Both are logarithms of the last error over the first.
        """
        found = []
        for one in self.racers:
            if len(one.curve) > 1:
                first, last = min(one.curve), max(one.curve)
                told = [interpolate(replace(one, done=epoch + 1).share)[0] for epoch in (first, last)]
                found.append((told[0] - told[1], math.log(one.curve[last] / one.curve[first])))
        return [pair for pair in found if pair[0] < 0]

    def foresee(self, racer: Racer) -> Outlook:
        """Return the outlook of a racer against the leader."""
        leader = self.find_leader()
        assert leader is not None and leader.error is not None
        if racer.error is not None and racer.share > 0:
            ratio = foretell_ratio(racer.share, self.list_seen())
            return foretell_outlook(racer.error, leader.error, ratio, racer.noise, self.least)
        return foretell_outlook(self._find_frozen_error(leader), leader.error, racer.prior, racer.noise, self.least)

    def _find_frozen_error(self, leader: Racer) -> float:
        """Return the error of the frozen network, which what trains is expected to come to; else that of the leader."""
        solved = [one.error for one in self.racers if one.solved == one.epochs and one.error is not None]
        error = min(solved, default=leader.error)
        assert error is not None
        return error

    def list_hopeless(self) -> list[tuple[str, str]]:
        """Return the names of those who are unlikely to win, each with the reason."""
        leader, found = self.find_leader(), []
        for one in self.racers:
            if leader is not None and one is not leader and one.can_go_on and one.error is not None:
                outlook = self.foresee(one)
                if outlook.chance < UNLIKELY:
                    reason = f"{100 * outlook.chance:.0f}% likely to beat {leader.name} by more than {self.least:.2g}"
                    found.append((one.name, reason))
        return found

    def drop(self, names: Sequence[str], reasons: Sequence[str]) -> "Race":
        """Return the race in which these are out."""
        why = dict(zip(names, reasons, strict=True))
        return replace(self, racers=[replace(one, out=why.get(one.name, one.out)) for one in self.racers])

    def choose_move(self, left: float) -> Move | None:
        """Return who goes on next within the seconds that are ``left``, None where nobody is worth it or can.

        That is who gains most on average for each second to its end. Where the way to the next rung is too long, it
        goes as far as the time allows. The cheapest goes first, whatever it promises: what follows is measured by it.
        """
        able = [one for one in self.racers if one.can_go_on and one.find_room(left) > 0]
        leader = self.find_leader()
        if leader is None:
            first = min(able, key=lambda one: one.find_cost(one.epochs), default=None)
            waits = any(one.running for one in self.racers)
            return None if first is None or waits else self._make_move(first, left, "the cheapest goes first")
        outlooks = {one.name: self.foresee(one) for one in able}
        likely = [one for one in able if outlooks[one.name].chance >= UNLIKELY or one is leader]
        if not likely:
            return None
        best = max(likely, key=lambda one: outlooks[one.name].gain / one.find_cost(one.epochs))
        cost = f"{best.find_cost(best.epochs):.0f} s to its end"
        if best is leader:
            return self._make_move(best, left, f"leads, {cost}")
        gain = f"gains {outlooks[best.name].gain:.4f} on average over {leader.name}"
        return self._make_move(best, left, f"{gain}, {cost}")

    def _make_move(self, racer: Racer, left: float, reason: str) -> Move:
        return Move(racer.name, min(racer.find_rung(), racer.done + racer.find_room(left)), reason)


def replay_moves(moves: Sequence[Mapping[str, Any]]) -> list[Move | None]:
    """Return what is decided from the states that stand in an advice.json, for each of its moves that has one."""
    return [Race.read(row["state"]).choose_move(row["state"]["left"]) for row in moves if row.get("state")]
