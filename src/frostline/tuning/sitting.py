"""The story of a study: trials, asked for when there is room and told as they end; then the best one, tested once."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frostline.errors import UserError
from frostline.launchers.base import Job, Launcher
from frostline.launchers.dispatch import Outcome
from frostline.launchers.progress import Screen, describe_end
from frostline.runs.calls import survey
from frostline.tuning.index import StudyIndex
from frostline.tuning.judge import Judge
from frostline.tuning.search import Search
from frostline.tuning.space import Point
from frostline.tuning.study import load_optuna, make_sampler

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial


@dataclass
class StudySitting:
    """One sitting of a study: its search, Optuna's study, its index, the launcher that runs it, and the screen.

    ``on`` has the trials that are running by their run's ID: two trials that come to the same run share it.
    """

    search: Search
    study: "optuna.Study"
    index: StudyIndex
    launcher: Launcher
    screen: Screen
    on: dict[str, list["Trial"]] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def complete(self) -> Mapping[str, Any] | None:
        """Do all that is left to do; return the final run's record, None where no trial has a value."""
        self.survey_corners()
        with Judge(self.search.judged).judging_trials() as judge:
            for job, outcome, seconds in self.launcher.run(self.ask_jobs(judge)):
                judge.check()
                judge.close(job)
                first, *others = self.on.pop(outcome.id)
                self.tell(first, outcome, seconds)
                for trial in others:
                    self.copy(trial, self.study.get_trials(deepcopy=False)[first.number])
                self.show_end(job, outcome, seconds)
        self.index.close(self.study)
        return self.run_final()

    def find_final_record(self) -> Mapping[str, Any] | None:
        """Return the final run's record where there is nothing left to do."""
        best = self.index.find_best()
        if best is None or self.search.config.force or len(self.list_ended_trials()) < self.search.trials:
            return None
        return Job("", self.search.make_final(best["point"])).find_final_record()

    def survey_corners(self) -> None:
        """Let a worker look for mistakes at every corner, before the first trial. Raises UserError for any."""
        if self.study.get_trials(deepcopy=False):
            return
        corners = list(self.search.corners)
        facts = self.launcher.ask(survey, corners)
        for config, fact in zip(corners, facts, strict=True):
            if fact.get("error"):
                raise UserError(f"{(config.label or '').partition(' 0 ')[2]}: {fact['error']}")

    def ask_jobs(self, judge: Judge) -> Iterator[Job]:
        """Yield the runs that trials ask for, one when there is room for it."""
        for trial in self.ask_trials():
            point = self.search.space.point(trial)
            trial.set_user_attr("overrides", self.search.space.overrides(point))
            job = self.make_job(trial, point)
            if job is None:
                continue
            known = next((one for one in self.list_ended_trials() if one.user_attrs.get("run") == job.id), None)
            trial.set_user_attr("run", job.id)
            if known is not None:
                self.copy(trial, known)
            elif job.id in self.on:
                self.on[job.id].append(trial)
            else:
                self.on[job.id] = [trial]
                judge.follow(job, trial)
                yield job

    def ask_trials(self) -> Iterator["Trial"]:
        """Yield the trials that an earlier sitting left unfinished, then new ones, as many as there are to be."""
        optuna = load_optuna()
        states = optuna.trial.TrialState
        for left in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self.screen.say(f"trial {left.number} goes on")
            self.study.sampler = make_sampler(self.search, left.number)
            yield optuna.trial.Trial(self.study, left._trial_id)
        limit = self.search.node.timeout_s or math.inf
        while time.monotonic() - self.started < limit:
            waiting = self.study.get_trials(deepcopy=False, states=(states.WAITING,))
            number = len(self.study.get_trials(deepcopy=False)) - len(waiting)
            if number >= self.search.trials:
                return
            if self.search.grid is not None and not waiting:
                self.study.enqueue_trial(self.search.grid[number])
            self.study.sampler = make_sampler(self.search, number)
            yield self.study.ask()

    def make_job(self, trial: "Trial", point: Point) -> Job | None:
        """Return a trial's run; None for a point that is no run's, which is told as failed."""
        try:
            config = self.search.make_trial(point, trial.number)
        except UserError as error:
            self.fail(trial, "failed", str(error))
            self.screen.say(f"trial {trial.number}: failed: {error}")
            return None
        return Job(config.label or "", config)

    def list_ended_trials(self) -> "list[FrozenTrial]":
        """Return the trials that have ended."""
        return [one for one in self.study.get_trials(deepcopy=False) if one.state.is_finished()]

    def tell(self, trial: "Trial", outcome: Outcome, seconds: float) -> None:
        """Tell Optuna how a trial ended."""
        record, states = outcome.record, load_optuna().trial.TrialState
        trial.set_user_attr("seconds", seconds if outcome.fresh else record["cost"]["seconds"])
        if record["status"] == "pruned":
            trial.set_user_attr("status", "pruned")
            self.study.tell(trial, state=states.PRUNED)
            return
        value = record["metrics"]["val"].get(self.search.config.metric) if record["status"] == "done" else None
        if value is None:
            self.fail(trial, record["status"], record["reason"] or "its validation score is no number")
            return
        trial.set_user_attr("epochs", record["epochs"])
        trial.set_user_attr("status", "done")
        self.study.tell(trial, value)

    def fail(self, trial: "Trial", status: str, reason: str) -> None:
        """Tell Optuna that a trial has no value, and why."""
        trial.set_user_attr("status", status)
        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=load_optuna().trial.TrialState.FAIL)

    def copy(self, trial: "Trial", known: "FrozenTrial") -> None:
        """Tell Optuna of a trial that came to the same run as one before it: it ended as that did."""
        for key, value in {**known.user_attrs, "same_as": known.number}.items():
            trial.set_user_attr(key, value)
        for step, value in known.intermediate_values.items():
            trial.report(value, step)
        scored = known.state.name == "COMPLETE"
        self.study.tell(trial, known.value if scored else None, state=None if scored else known.state)
        self.screen.say(f"trial {trial.number}: the same run as trial {known.number}")

    def show_end(self, job: Job, outcome: Outcome, seconds: float) -> None:
        """Show how a trial ended and what is best so far, and keep it."""
        self.index.update(self.study)
        ended, best = len(self.list_ended_trials()), self.index.find_best()
        so_far = f" (best {best['value']:.4f}, trial {best['number']})" if best else ""
        self.screen.say(f"[{ended}/{self.search.trials}] {describe_end(job, outcome, seconds)}{so_far}")

    def run_final(self) -> Mapping[str, Any] | None:
        """Run the best point once more, with the final run's seed and the test split."""
        best = self.index.find_best()
        if best is None:
            return None
        config = self.search.make_final(best["point"])
        self.index.set_final(config)
        ((job, outcome, seconds),) = self.launcher.run([Job(config.label or "", config)])
        self.screen.say(describe_end(job, outcome, seconds))
        return outcome.record
