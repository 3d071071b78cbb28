"""The story of an advice: survey, race, more seeds, the test; each step goes on where an earlier sitting stopped."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from frostline.advice.adopt import adopt_checkpoints
from frostline.advice.answer import LEVEL, describe_answer, list_alike
from frostline.advice.candidates import Inquiry, divide_candidates
from frostline.advice.history import History, read_history
from frostline.advice.index import AdviceIndex
from frostline.advice.profile import TIMES, make_profile
from frostline.advice.race import Move
from frostline.advice.trials import PACE, START_S, Trial, Trials
from frostline.config.schema import find_monitor
from frostline.data.examination.sentences import list_sentences
from frostline.errors import UserError
from frostline.files.decisions import Decision, write_decision
from frostline.launchers.base import Job, Launcher
from frostline.launchers.dispatch import Outcome
from frostline.launchers.progress import Screen
from frostline.runs.calls import examine_and_survey, extract
from frostline.units import format_duration, format_score

FASTEST = 1e13
"""FLOPs per second that no worker on processors has; what does not fit with them does not fit."""
MOST = 3
"""Candidates at most that are run with more seeds."""
PAGE_S = 3.0
"""What the page takes, and what is kept for runs that are late to stop."""


@dataclass
class AdviceSitting:
    """One sitting of an advice: what is asked, its index, the launcher that runs it, and the screen that shows it.

    ``began`` is the time on the ``clock`` at which the question was asked.
    """

    inquiry: Inquiry
    index: AdviceIndex
    launcher: Launcher
    screen: Screen
    began: float
    clock: Callable[[], float] = time.monotonic
    trials: Trials = field(init=False)

    def __post_init__(self) -> None:
        metric = find_monitor(self.inquiry.config)
        known = read_history(self.index.folder.parent, self.inquiry.name) if self.inquiry.node.history else History()
        self.trials = Trials(metric, self.inquiry.node.least, self.inquiry.seed, known)

    @property
    def elapsed(self) -> float:
        """The seconds since the beginning, over all sittings."""
        return self.index.earlier + self.clock() - self.began

    @property
    def end(self) -> float:
        """The `time.monotonic` at which the race has to be over, so that there is time for the test and the page."""
        whole = self.began + self.inquiry.within - self.index.earlier
        return whole - self.trials.estimate_test() - PAGE_S

    def answer(self) -> Outcome | None:
        """Do all that there is time for; return how the answer's test ended, None where nobody has a result.

        Raises UserError where nobody can be in the race.
        """
        self.survey()
        self.read_network()
        self.run_race()
        self.add_seeds()
        self.read_depths()
        self.index.set(pace=self.trials.measure_pace())
        return self.test_answer()

    def survey(self) -> None:
        """Find out what the data are like, and who can be in the race. Raises UserError where nobody can."""
        jobs = [one.make_trial(self.inquiry.seed) for one in self.inquiry.candidates]
        found = self.index.content["found"]
        if found is None:
            found = self.launcher.ask(examine_and_survey, [job.config for job in jobs])
            self.index.set(found=found, history=list(self.trials.history.names))
        for place, candidate in divide_candidates(self.inquiry.candidates, found["runs"], self.screen.say):
            self.enter(Trial(candidate, self.inquiry.seed, jobs[place], found["runs"][place]))
        self.index.set(notes=list_sentences(found["data"]))
        for said in [str(self.trials.all[0].fact["data"]), *self.index.content["notes"]]:
            self.screen.say(said)

    def read_network(self) -> None:
        """Read the frozen network, in one pass for all that need it; where that fails the runs do it for themselves.

        So they do, and are stopped in time, where the pass could take longer than half of what is left. Raises
        UserError where there is no hope that one fits.
        """
        needing = self.list_needing()
        work = max((one.fact["filling"] for one in needing), default=0.0)
        if not work:
            return
        left, foretold = self.end - self.clock(), self.estimate_reading()
        if work / FASTEST > left and self.inquiry.config.trainer["accelerator"] == "cpu":
            needed = 2 * (self.inquiry.within - left + foretold)
            raise UserError(
                f"advise.within: {self.inquiry.within:g} s is too short: {format_duration(self.elapsed, 0)} are over, "
                f"and the network is still to be read once; give {format_duration(needed, 0)} or more."
            )
        if foretold > left / 2:
            return
        self.screen.say("reading the frozen network ...")
        began = self.clock()
        for found in self.launcher.share(extract, [one.job.config for one in needing], 1):
            if isinstance(found, UserError):
                self.screen.warn(f"what the caches lack is left to the runs: {found}")
            else:
                self.trials.note_filling(work / max(self.clock() - began, 0.1))

    def list_needing(self) -> list[Trial]:
        """Return those who need what the frozen network gives, and have not run yet."""
        return [one for one in self.trials.all if one.fact["entries"] and not one.seconds]

    def estimate_reading(self) -> float:
        """Return about the seconds that reading the frozen network takes."""
        work = max((one.fact["filling"] for one in self.list_needing()), default=0.0)
        return work / (self.trials.history.pace or PACE)

    def read_depths(self) -> None:
        """Profile the frozen network for the page, where the time that is left is long enough for it."""
        solved = [one for one in self.trials.racing if not one.fact["stepped"] and one.seconds]
        if not solved or self.end - self.clock() < TIMES * max(one.seconds for one in solved):
            return
        try:
            folder = make_profile(solved[0].job.config, self.launcher, self.index.content["command"], self.screen.say)
        except UserError as error:
            self.screen.warn(f"the page will have no depth profile: {error}")
            return
        self.index.set(profile=os.path.relpath(folder, self.index.folder))

    def enter(self, one: Trial) -> Trial:
        """Let a candidate enter with a seed, or go on as it stood."""
        known = self.index.find_trial(one.job.id)
        standing = self.trials.read_standing(one)
        rows = sum(standing.seconds.values())
        if known is not None:
            one.go_on(known["seconds"], rows, known["out"])
        elif standing.done:  # it was run for another advice
            one.go_on(rows + START_S, rows, None)
            self.keep(one)
        self.trials.add(one)
        return one

    def run_race(self) -> None:
        """Let the candidates race until nobody is likely to win any more, or the time is over."""
        self.run(self.ask_jobs())

    def run(self, jobs: Iterator[Job | None]) -> None:
        """Run what is asked for, until the race has to be over, and keep what it comes to."""
        for job, outcome, seconds in self.launcher.run(jobs, self.end):
            self.take_in(self.trials.find_run(job.id), outcome, seconds)
        for one in self.trials.all:
            if one.since is not None:  # it was stopped, at the end of the time
                one.end(self.clock() - one.since, sum(self.trials.read_standing(one).seconds.values()))
                self.keep(one)

    def ask_jobs(self) -> Iterator[Job | None]:
        """Yield the run of each next move; None while that depends on those that are on."""
        while True:
            for name, reason in self.trials.read_race().list_hopeless():
                one = self.trials.find(name)
                one.leave(reason)
                self.keep(one)
                self.tell("stops", name, reason)
            race, left = self.trials.read_race(), self.end - self.clock()
            move = race.choose_move(left)
            if move is not None:
                yield self.begin(move, {**race.to_dict(), "left": left})
            elif any(one.since is not None for one in self.trials.all):
                yield None
            else:
                return

    def begin(self, move: Move, state: Mapping[str, Any]) -> Job:
        """Return the run of a move, told where to pause; ``state`` is what the move was decided from."""
        one = self.trials.find(move.name)
        reason = f"up to epoch {move.until} of {one.epochs}: {move.reason}"
        self.tell("goes on", move.name, reason, until=move.until, state=state)
        decision = Decision.GO_ON if move.until >= one.epochs else Decision.PAUSE
        write_decision(one.job.folder, move.until - 1, decision)
        return one.begin(self.clock())

    def take_in(self, one: Trial, outcome: Outcome, seconds: float) -> None:
        """Keep what a run came to before it paused, ended or failed."""
        standing = self.trials.read_standing(one)
        status = outcome.record["status"]
        beside = one.end(seconds, sum(standing.seconds.values()))
        if status not in ("done", "paused"):
            one.leave(f"{status}: {outcome.record['reason']}")
        if outcome.fresh and standing.seconds:
            self.trials.note_start(beside)
        self.keep(one)
        said = "no result" if standing.value is None else f"{self.trials.metric.name} {format_score(standing.value)}"
        why = f"; {one.out}" if one.out else ""
        self.screen.say(f"{one.job.name}: {standing.done} of {one.epochs} epochs, {said}{why}")

    def keep(self, one: Trial) -> None:
        """Keep how a run stands."""
        self.index.set_trial(self.trials.write_row(one, LEVEL), one.job.folder)

    def tell(self, what: str, name: str, reason: str, **more: Any) -> None:
        """Show a decision, and keep it."""
        self.index.add_move(self.elapsed, what, name, reason, **more)
        self.screen.say(f"[{format_duration(self.elapsed, 0)}] {name} {what}: {reason}")

    def add_seeds(self) -> None:
        """Run those that cannot be told apart with more seeds, in turn, as long as there is time.

        Who is behind by more than chance after a turn is left there: of all looks together at most a share of
        1 - ``LEVEL`` may be mistaken, each by the same share of it (Bonferroni).
        """
        contenders = [one.name for one in list_alike(self.trials.read_race()) if one.ended][:MOST]
        for place in range(1, self.inquiry.node.seeds):
            if len(contenders) < 2:
                return
            self.run(self.ask_repeats(contenders, self.inquiry.seed + place))
            contenders = self.list_undecided(contenders, looks=self.inquiry.node.seeds - 1)

    def ask_repeats(self, names: Sequence[str], seed: int) -> Iterator[Job]:
        """Yield a run with a seed of each of those for which there is time."""
        for first in map(self.trials.find, names):
            if first.seconds <= self.end - self.clock():
                job = first.candidate.make_trial(seed)
                again = self.enter(Trial(first.candidate, seed, job, first.fact))
                self.tell("is repeated", first.name, f"with seed {seed}: it cannot be told from the best")
                write_decision(again.job.folder, again.epochs, Decision.GO_ON)
                yield again.begin(self.clock())

    def list_undecided(self, names: Sequence[str], looks: int) -> list[str]:
        """Return those whose mean over seeds is not behind the best one's by more than chance; the others stop."""
        errors = {name: self.trials.list_errors(name) for name in names}
        best = min(errors, key=lambda name: fmean(errors[name]))
        behind = [name for name in names if name != best and is_behind(errors[name], errors[best], looks)]
        for one in map(self.trials.find, behind):
            one.fall_behind(f"behind {best} by more than chance, over {len(errors[one.name])} seeds")
            self.keep(one)
            self.tell("stops", one.name, str(one.out))
        return [name for name in names if name not in behind]

    def test_answer(self) -> Outcome | None:
        """Test the answer, once; None where nobody has a result."""
        one = self.choose_answer()
        if one is None:
            return None
        standing = self.trials.read_standing(one)
        job = one.candidate.make_answer(one.seed, None if standing.done >= one.epochs else standing.done)
        if job.find_final_record() is None:
            adopt_checkpoints(one.job.folder, job.folder)
        self.screen.say(f"testing {one.name} ...")
        ((_, outcome, _),) = list(self.launcher.run([Job(job.name, replace(job.config, force=False))]))
        self.index.set(answer=describe_answer(self.trials, one, outcome, self.index.folder))
        return outcome

    def choose_answer(self) -> Trial | None:
        """Return the run that is the answer: of the candidate with the best mean over its seeds the best one."""
        alike = [one.name for one in list_alike(self.trials.read_race())]
        if not alike:
            return None
        best = min(alike, key=lambda name: fmean(self.trials.list_errors(name)))
        runs = [(self.trials.read_standing(one).error, one.seed, one) for one in self.trials.all if one.name == best]
        return min((row for row in runs if row[0] is not None), key=lambda row: row[:2])[2]


def is_behind(errors: Sequence[float], best: Sequence[float], looks: int) -> bool:
    """Return whether errors [S] are above the ``best`` ones [S] by more than chance, in pairs of the same seed.

    By Student's t at the level that each of so many ``looks`` has; not with fewer than two seeds.
    """
    apart = [one - other for one, other in zip(errors, best, strict=False)]
    if len(apart) < 2:
        return False
    from scipy import stats

    reach = float(stats.t.ppf(1 - (1 - LEVEL) / looks, len(apart) - 1)) * stdev(apart) / math.sqrt(len(apart))
    return fmean(apart) > reach
