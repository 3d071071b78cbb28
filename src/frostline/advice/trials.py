"""Who races: each candidate's runs, how they stand by their folders, and what more of them would take."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Any

from frostline.advice.candidates import Candidate
from frostline.advice.history import History
from frostline.advice.race import Race, Racer
from frostline.advice.standing import Standing, measure_noise, read_standing
from frostline.launchers.base import Job
from frostline.tasks.declarations import Metric

START_S = 3.0
PACE = 2e10
"""Until a run tells better: the seconds of a run's start, and the FLOPs per second of a worker."""


@dataclass
class Trial:
    """A candidate with one seed: its run, what the survey knows of it, what it has taken, and why it is out.

    ``charged`` are the seconds of its rows that were there at the end of its last sitting, ``behind`` says whether more
    seeds have told it from a better one. ``since`` is the time at which its run was begun that is on now.
    """

    candidate: Candidate
    seed: int
    job: Job
    fact: Mapping[str, Any]
    seconds: float = 0.0
    charged: float = 0.0
    out: str | None = None
    behind: bool = False
    begun: bool = False
    since: float | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.candidate.name

    @property
    def epochs(self) -> int:
        """The epochs of its plan."""
        return self.job.config.epochs

    @property
    def rate(self) -> float | None:
        """Its learning rate, None where that plays no part."""
        return self.candidate.rate if self.fact["stepped"] else None

    def count_flops(self) -> float:
        """Return about how many FLOPs an epoch that is trained takes."""
        return self.fact["flops"] / max(self.epochs - self.fact["solved"], 1)

    def begin(self, now: float) -> Job:
        """Return its run, begun anew where that is asked for, but once only."""
        force = self.job.config.force and not self.begun
        self.begun, self.since = True, now
        return Job(self.job.name, replace(self.job.config, force=force))

    def go_on(self, seconds: float, rows: float, out: str | None) -> None:
        """Be as an earlier sitting left it: after so many seconds, of which its history's ``rows`` have so many."""
        self.seconds, self.charged, self.out = seconds, rows, out

    def leave(self, reason: str) -> None:
        """Be out of the race."""
        self.out = reason

    def fall_behind(self, reason: str) -> None:
        """Be out of it since another one is better, by more than chance."""
        self.out, self.behind = reason, True

    def end(self, seconds: float, rows: float) -> float:
        """Charge what its run took, and be on no more; return the seconds that went by before and beside its rows."""
        beside, self.charged = seconds - (rows - self.charged), rows
        self.seconds += seconds
        self.since = None
        return max(beside, 0.1)


@dataclass
class Trials:
    """All that race with the race's ``seed``, and what is run again with others; compared by ``metric``.

    ``least`` is the difference of scores that matters; ``starts`` are the seconds that runs took to start,
    ``filling_pace`` the FLOPs per second of the pass that read the frozen network.
    """

    metric: Metric
    least: float
    seed: int
    history: History = field(default_factory=History)
    all: list[Trial] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    filling_pace: float | None = None

    @property
    def racing(self) -> list[Trial]:
        """Those with the race's seed, of each candidate one."""
        return [one for one in self.all if one.seed == self.seed]

    def find(self, name: str) -> Trial:
        """Return a candidate's run in the race."""
        return next(one for one in self.racing if one.name == name)

    def find_run(self, run: str) -> Trial:
        """Return the one with this run."""
        return next(one for one in self.all if one.job.id == run)

    def add(self, one: Trial) -> None:
        """Let one more race, or run again."""
        self.all.append(one)

    def note_start(self, seconds: float) -> None:
        """Note what a run took to start."""
        self.starts.append(seconds)

    def note_filling(self, pace: float) -> None:
        """Note the FLOPs per second of the pass that read the frozen network; of a short one most is its start."""
        self.filling_pace = max(pace, PACE)

    def read_standing(self, one: Trial) -> Standing:
        """Return how a run stands by its folder."""
        return read_standing(one.job.folder, self.metric, one.fact["counts"]["val"])

    def list_errors(self, name: str) -> list[float]:
        """Return the errors of a candidate's runs so far, seed after seed."""
        there = [self.read_standing(one) for one in self.all if one.name == name]
        return [one.error for one in there if one.error is not None]

    def read_race(self) -> Race:
        """Return the state of the race."""
        standings = {one.name: self.read_standing(one) for one in self.racing}
        pace = self.find_pace()
        race = Race([self.describe(one, standings[one.name], pace) for one in self.racing], self.least)
        leader = race.find_leader()
        if leader is None or leader.error is None:
            return race
        first = standings[leader.name]
        racers = [replace(one, noise=measure_noise(standings[one.name], first)) for one in race.racers]
        return Race(racers, race.least * (leader.error if self.metric.lower_is_better else 1.0))

    def describe(self, one: Trial, standing: Standing, pace: float) -> Racer:
        """Return how a run stands in the race; ``pace`` are the FLOPs per second of a worker."""
        seconds = find_epoch_seconds(standing)
        return Racer(
            one.name,
            one.epochs,
            one.count_flops() / pace if seconds is None else seconds,
            median(self.starts) if self.starts else START_S,
            solved=one.fact["solved"],
            done=standing.done,
            error=standing.error,
            curve=standing.errors,
            prior=self.history.foretell(one.candidate.level.name),
            measured=seconds is not None,
            running=one.since is not None,
            out=one.out,
            behind=one.behind,
        )

    def write_row(self, one: Trial, level: float) -> dict[str, Any]:
        """Return how a run stands as advice.json has it, with the interval of its score at a level."""
        standing = self.read_standing(one)
        interval = standing.find_interval(self.metric, level)
        return {
            "name": one.name,
            "strategy": one.candidate.level.name,
            "rate": one.rate,
            "seed": one.seed,
            "overrides": one.candidate.list_overrides(),
            "entry": one.candidate.entry,
            "id": one.job.id,
            "epochs": one.epochs,
            "done": standing.done,
            "value": standing.value,
            "interval": None if interval is None else asdict(interval),
            "error": standing.error,
            "curve": sorted(standing.values.items()),
            "seconds": one.seconds,
            "out": one.out,
        }

    def measure_pace(self) -> float | None:
        """Return the FLOPs per second of what was trained so far, None where nothing was."""
        paces = [
            one.count_flops() / seconds
            for one in self.racing
            if one.fact["stepped"] and (seconds := find_epoch_seconds(self.read_standing(one)))
        ]
        return median(paces) if paces else None

    def find_pace(self) -> float:
        """Return the FLOPs per second of a worker, as well as it is known."""
        return self.measure_pace() or self.history.pace or self.filling_pace or PACE

    def estimate_test(self) -> float:
        """Return about the seconds that a test takes: its start, and the forward pass over the samples.

        Of an epoch of training, which is forward and backward, that is a third for as many samples.
        """
        start = max(self.starts, default=START_S)
        if not self.all:
            return start
        counts, pace = self.all[0].fact["counts"], self.find_pace()
        begun = [racer.seconds / 3 for racer in self.read_race().racers if racer.measured]
        read = max(one.fact["filling"] for one in self.all) / pace
        passes = [*(one / max(counts["train"], 1) for one in begun), read / max(counts["train"] + counts["val"], 1)]
        return start + counts["test"] * max(passes)


def find_epoch_seconds(standing: Standing) -> float | None:
    """Return the seconds of an epoch that was trained, None where there is none yet.

    A row that stands for a phase that was solved is none: it is the first, or it leaves out the epochs before it.
    """
    rows = sorted(standing.seconds)
    stepped = [standing.seconds[epoch] for before, epoch in pairwise(rows) if epoch == before + 1]
    return median(stepped) if stepped else None
