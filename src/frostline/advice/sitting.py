"""The story of an advice: survey, race, more seeds, the test; each step goes on where an earlier sitting stopped."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Any

from frostline.advice.adopt import adopt_checkpoints
from frostline.advice.candidates import Candidate, Inquiry, divide_candidates
from frostline.advice.index import AdviceIndex
from frostline.advice.race import Move, Race, Racer
from frostline.advice.standing import Standing, read_standing
from frostline.config.schema import find_monitor
from frostline.launchers.base import Job, Launcher
from frostline.launchers.dispatch import Outcome
from frostline.launchers.progress import Screen
from frostline.results.decisions import Decision, write_decision
from frostline.runs.calls import survey
from frostline.tasks.declarations import Metric
from frostline.units import format_duration, format_score

START_S = 3.0
RATE = 2e10
"""Until a run tells better: the seconds of a run's start, and FLOPs per second of a worker."""
PAGE_S = 2.0
"""What the page takes, and what is kept for a clock that is late."""


@dataclass
class Entrant:
    """A candidate with one seed: its run, what the survey knows of it, and what it has taken so far."""

    candidate: Candidate
    seed: int
    job: Job
    fact: Mapping[str, Any]
    seconds: float = 0.0
    out: str | None = None
    touched: bool = False

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.candidate.name

    @property
    def epochs(self) -> int:
        """The epochs of its plan."""
        return self.job.config.epochs


@dataclass
class AdviceSitting:
    """One sitting of an advice: what is asked, its index, the launcher that runs it, and the screen that shows it."""

    inquiry: Inquiry
    index: AdviceIndex
    launcher: Launcher
    screen: Screen
    began: float
    entrants: list[Entrant] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    running: set[str] = field(default_factory=set)

    @property
    def metric(self) -> Metric:
        """What candidates are compared by."""
        return find_monitor(self.inquiry.config)

    @property
    def elapsed(self) -> float:
        """The seconds since the beginning, over all sittings."""
        return self.index.earlier + time.monotonic() - self.began

    @property
    def end(self) -> float:
        """The `time.monotonic` at which the race has to be over."""
        return self.began + self.inquiry.within - self.index.earlier - self.reserve_test()

    def survey(self) -> None:
        """Find out who can be in the race. Raises UserError where nobody can."""
        trials = [one.make_trial(self.inquiry.seed) for one in self.inquiry.candidates]
        facts = self.index.content["facts"] or self.launcher.ask(survey, [job.config for job in trials])
        self.index.set(facts=facts)
        for candidate, fact in divide_candidates(self.inquiry.candidates, facts, self.screen.say):
            self.add_entrant(candidate, fact, self.inquiry.seed)
        self.screen.say(str(self.entrants[0].fact["data"]))

    def add_entrant(self, candidate: Candidate, fact: Mapping[str, Any], seed: int) -> Entrant:
        """Let a candidate enter with a seed, or go on as it stood."""
        job = candidate.make_trial(seed)
        found = Entrant(candidate, seed, job, fact)
        known = self.index.find_runner(job.id)
        if known is not None:
            found.seconds, found.out = known["seconds"], known["out"]
        self.entrants.append(found)
        return found

    def run_race(self) -> None:
        """Let the candidates race until nobody is likely to win any more, or the time is over."""
        for job, outcome, seconds in self.launcher.run(self.ask_jobs(), self.end):
            self.take_in(job, outcome, seconds)
        self.running.clear()

    def ask_jobs(self) -> Iterator[Job | None]:
        """Yield the run of each next move; None while that depends on those that are on."""
        while True:
            race, dropped = self.read_race().drop()
            for name, reason in dropped:
                self.find(name).out = reason
                self.keep(self.find(name))
                self.tell("stops", name, reason)
            move = race.choose_move(self.end - time.monotonic())
            if move is not None:
                yield self.begin(move)
            elif self.running:
                yield None
            else:
                return

    def begin(self, move: Move) -> Job:
        """Return the run of a move, told where to pause."""
        one = self.find(move.name)
        self.tell("goes on", move.name, f"up to epoch {move.until} of {one.epochs}: {move.reason}", until=move.until)
        force = one.job.config.force and not one.touched
        one.touched = True
        ends = move.until >= one.epochs
        write_decision(one.job.folder, move.until - 1, Decision.GO_ON if ends else Decision.PAUSE)
        self.running.add(one.name)
        return Job(one.job.name, replace(one.job.config, force=force))

    def take_in(self, job: Job, outcome: Outcome, seconds: float) -> None:
        """Keep what a run came to before it paused, ended or failed."""
        one = next(one for one in self.entrants if one.job.id == job.id)
        self.running.discard(one.name)
        one.seconds += seconds
        status, standing = outcome.record["status"], self.read_standing(one)
        if status not in ("done", "paused"):
            one.out = f"{status}: {outcome.record['reason']}"
        if outcome.fresh and standing.seconds:
            self.starts.append(max(one.seconds - sum(standing.seconds.values()), 0.1))
        self.keep(one)
        said = "no result" if standing.value is None else f"{self.metric.name} {format_score(standing.value)}"
        why = f"; {one.out}" if one.out else ""
        self.screen.say(f"{one.name}: {standing.done} of {one.epochs} epochs, {said}{why}")

    def keep(self, one: Entrant) -> None:
        """Keep how an entrant stands."""
        rate = one.candidate.rate if one.fact["stepped"] else None
        row = {"name": one.name, "strategy": one.candidate.level.name, "rate": rate, "seed": one.seed}
        row |= {"id": one.job.id, "epochs": one.epochs, "seconds": one.seconds, "out": one.out}
        self.index.set_runner(row, one.job.folder)

    def tell(self, what: str, name: str, reason: str, **more: Any) -> None:
        """Show a decision, and keep it."""
        self.index.add_move(self.elapsed, what, name, reason, **more)
        self.screen.say(f"[{format_duration(self.elapsed, 0)}] {name} {what}: {reason}")

    def read_race(self) -> Race:
        """Return the state of the race, from the runs' folders."""
        racers = {one.name: self.describe(one) for one in self.entrants if one.seed == self.inquiry.seed}
        least = self.inquiry.node.least
        if self.metric.lower_is_better:
            errors = [one.error for one in racers.values() if one.error is not None]
            least *= min(errors, default=1.0)
        return Race(racers, least, frozenset(self.running))

    def describe(self, one: Entrant) -> Racer:
        """Return how an entrant stands in the race."""
        standing = self.read_standing(one)
        return Racer(
            one.name,
            one.epochs,
            self.estimate_epoch(one, standing),
            median(self.starts) if self.starts else START_S,
            standing.done,
            standing.error,
            standing.parts,
            standing.is_mean,
            standing.errors,
            one.out,
        )

    def read_standing(self, one: Entrant) -> Standing:
        """Return how an entrant's run stands by its folder."""
        return read_standing(one.job.folder, self.metric, one.fact["counts"]["val"])

    def estimate_epoch(self, one: Entrant, standing: Standing) -> float:
        """Return the seconds of an epoch: of those that were trained, else by FLOPs at the pace of the others."""
        rows = sorted(standing.seconds)
        stepped = [standing.seconds[epoch] for before, epoch in pairwise(rows) if epoch == before + 1]
        if stepped:
            return median(stepped)
        return one.fact["flops"] / one.epochs / self.measure_pace()

    def measure_pace(self) -> float:
        """Return the FLOPs per second of what was trained so far."""
        paces = []
        for one in self.entrants:
            rows = self.read_standing(one).seconds
            if len(rows) > 1 and one.fact["flops"]:
                paces.append(one.fact["flops"] / one.epochs / median(rows.values()))
        return median(paces) if paces else RATE

    def reserve_test(self) -> float:
        """Return the seconds that are kept for the test of the answer, and for the page."""
        start = max(self.starts, default=START_S)
        counts = self.entrants[0].fact["counts"] if self.entrants else {}
        share = counts.get("test", 0) / max(counts.get("train", 1), 1)
        longest = max((self.estimate_epoch(one, self.read_standing(one)) for one in self.entrants), default=0.0)
        return start + min(share, 1.0) * longest + PAGE_S

    def find(self, name: str) -> Entrant:
        """Return the entrant of the race with a name."""
        return next(one for one in self.entrants if one.name == name and one.seed == self.inquiry.seed)

    def test_leader(self) -> Outcome | None:
        """Test the best on validation, once; None where nobody has a result."""
        leader = self.read_race().find_leader()
        if leader is None:
            return None
        one = self.find(leader.name)
        job = one.candidate.make_answer(one.seed, None if leader.ended else leader.done)
        known = job.find_final_record()
        if known is None:
            adopt_checkpoints(one.job.folder, job.folder)
        self.screen.say(f"testing {one.name} ...")
        ((_, outcome, _),) = list(self.launcher.run([replace_force(job)]))
        return outcome


def replace_force(job: Job) -> Job:
    """Return a job that is not begun anew."""
    return Job(job.name, replace(job.config, force=False))


def list_contenders(race: Race, most: int) -> Sequence[Racer]:
    """Return those at their end who cannot be told from the leader, the best first, at most so many."""
    leader = race.find_leader()
    if leader is None:
        return []
    ended = [one for one in race.racers.values() if one.ended and one.error is not None]
    near = [one for one in ended if race.judge(one, leader).chance >= 0.05 or one is leader]
    return sorted(near, key=lambda one: one.error if one.error is not None else math.inf)[:most]
