"""Races made by hand."""

from dataclasses import replace

from frostline.advice.race import Race, Racer

LEAST = 0.005


def racer(name: str, done: int = 0, error: float | None = None, **more: object) -> Racer:
    """Return a racer of 10 epochs of 10 s each; one that has begun has a row for each epoch, all with its error."""
    curve = {} if error is None else dict.fromkeys(range(done), error)
    return replace(Racer(name, 10, 10.0, 2.0, done=done, error=error, noise=0.01, curve=curve), **more)  # type: ignore[arg-type]


def race(*racers: Racer) -> Race:
    """Return a race of these."""
    return Race(racers, LEAST)
