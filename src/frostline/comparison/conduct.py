"""The story of a comparison: survey, caches, trials, runs; each step goes on where an earlier sitting stopped."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from frostline.comparison.cells import Cell, Design, Job
from frostline.comparison.index import Index
from frostline.comparison.tuning import SOLVED, Tuned, beyond, length, tune
from frostline.config.schema import Varied, monitored
from frostline.errors import UserError
from frostline.launchers.base import Launcher, Task
from frostline.launchers.progress import run_all
from frostline.tasks.declarations import Metric

Records = Mapping[str, Mapping[str, Any]]
"""Records by the run's ID."""


Key = tuple[str, str]
Facts = Mapping[Key, Mapping[str, Any]]


class Detached(Exception):
    """Some runs have been left to go on by themselves; what depends on them is for another sitting."""

    def __init__(self, runs: int):
        super().__init__(f"{runs} runs were submitted")
        self.runs = runs


@dataclass
class Sitting:
    """One sitting of a comparison: its cells, where it keeps what it finds out, and what runs them."""

    design: Design
    index: Index
    launcher: Launcher

    def conduct(self) -> int:
        """Do all that is left to do; return how many runs have no result.

        Raises Detached when a launcher that does not wait has been given runs.
        """
        facts = self.survey()
        self.fill(facts)
        cells = self.budgeted(facts)
        tuned = self.tuned(cells, facts)
        jobs = [cell.job(seed, lr=tuned[cell.key].lr) for cell in cells for seed in self.design.seeds]
        self.index.set_runs(jobs)
        records = self.run(jobs)
        return sum(records[job.id]["status"] != "done" for job in jobs)

    def survey(self) -> Facts:
        """Return what is known of each cell before it runs. Raises UserError for a cell that cannot be run."""
        known = surveyed(self.design, self.index, self.launcher)
        for said in dict.fromkeys(fact["data"] for fact in known if fact.get("data")):
            print(said, flush=True)
        self.index.set(facts=known)
        return facts_of(self.design, known)

    def fill(self, facts: Facts) -> None:
        """Fill the caches for all runs that are left, in one pass; where that fails the runs do it for themselves."""
        left = [
            job.config.plain() for job in self.expected() if facts[job.cell.key].get("entries") and job.record() is None
        ]
        if not left:
            return
        print("filling the caches for all runs ...", flush=True)
        try:
            slots = min(self.launcher.workers, self._passes(left))
            threads = max(1, (os.cpu_count() or 1) // max(1, slots))
            found = (
                self.launcher.call_many(slots, "frostline.run.survey.extract", left, threads, slots) if slots else []
            )
        except UserError as error:
            found = [error]
        for error in dict.fromkeys(str(one) for one in found if isinstance(one, UserError)):
            print(f"frostline: what the caches lack is left to the runs: {error}", file=sys.stderr, flush=True)
        self.index.add_extraction([one for one in found if not isinstance(one, UserError)])

    def _passes(self, left: Sequence[Mapping[str, Any]]) -> int:
        """Return how many passes there are to share; 1 where there is nobody to share them with, who will see."""
        return self.launcher.call("frostline.run.survey.count_passes", left) if self.launcher.workers > 1 else 1

    def expected(self) -> list[Job]:
        """Return the runs to come, as far as that is known before the trials, and one trial for each cell."""
        rates = {one.key: one.lr for one in self.index.tuned()}
        cells = self.design.cells
        jobs = [cell.job(seed, lr=rates.get(cell.key)) for cell in cells for seed in self.design.seeds]
        if self._tries and not rates:
            jobs += [cell.job(self.design.trial_seed, trial=True) for cell in cells]
        return jobs

    def budgeted(self, facts: Facts) -> list[Cell]:
        """Return the cells with the epochs that their budget allows; a pilot run tells what an epoch takes."""
        seconds = self._node.budget.seconds
        if seconds is None:
            return self.design.cells
        pilots = [cell.job(self.design.trial_seed, trial=True) for cell in self.design.cells]
        records = self.run(pilots)
        return [
            replace(job.cell, epochs=length(job.cell, records[job.id], seconds, facts[job.cell.key].get("phases", 1)))
            for job in pilots
        ]

    def tuned(self, cells: Sequence[Cell], facts: Facts) -> dict[Key, Tuned]:
        """Return the learning rate of each cell: the best of the grid on validation, where there is a grid."""
        grid = self._node.lr_grid
        if not grid:
            return {cell.key: Tuned(cell.label, cell.block, cell.lr) for cell in cells}
        known = self.index.tuned()
        if not known:
            rates = {cell.key: grid if facts[cell.key].get("stepped", True) else [] for cell in cells}
            found = self.tune(cells, rates)
            edges = {one.key: one.edge for one in found if one.edge}
            if self._node.lr_extend and edges:
                rates |= {key: [*grid, beyond(grid, edge)] for key, edge in edges.items()}
                found = self.tune(cells, rates, frozenset(edges))
            self.index.set_tuned(found)
            known = found
        return {one.key: one for one in known}

    def tune(
        self, cells: Sequence[Cell], rates: Mapping[Key, Sequence[float]], extended: Set[Key] = frozenset()
    ) -> list[Tuned]:
        """Try these learning rates for each cell; return the choices. ``extended`` tells whose grid was extended."""
        jobs = {cell.key: [self._trial(cell, rate) for rate in rates[cell.key]] for cell in cells}
        flat = [job for trials in jobs.values() for job in trials]
        self.index.set_runs(flat)
        records = self.run(flat)
        return [
            tune(cell, [(job.lr, records[job.id]) for job in jobs[cell.key]], self._monitor, cell.key in extended)
            if jobs[cell.key]
            else Tuned(cell.label, cell.block, cell.lr, why=SOLVED)
            for cell in cells
        ]

    def _trial(self, cell: Cell, rate: float) -> Job:
        return cell.job(self.design.trial_seed, lr=rate, trial=True)

    def run(self, jobs: Sequence[Job]) -> Records:
        """Run the jobs, whatever becomes of each; return their records. Raises Detached where some go on instead."""
        tasks = {job.id: Task(job.name, job.config) for job in jobs}
        records = {outcome.id: outcome.record for _, outcome, _ in run_all(list(tasks.values()), self.launcher)}
        if len(records) < len(tasks):
            raise Detached(len(tasks) - len(records))
        return records

    @property
    def _node(self) -> Varied:
        return self.design.config.compare

    @property
    def _monitor(self) -> Metric:
        return monitored(self.design.config)

    @property
    def _tries(self) -> bool:
        return bool(self._node.lr_grid) or self._node.budget.seconds is not None


def surveyed(design: Design, index: Index, launcher: Launcher) -> list[dict[str, Any]]:
    """Return what is known of each cell before it runs, by an earlier sitting or found out in a worker now.

    Raises UserError for a cell that cannot be run.
    """
    known = index.content["facts"]
    if known is None:
        known = launcher.call("frostline.run.survey.survey", [config.plain() for config in design.configs()])
        refuse(design.cells, known)
    return known


def facts_of(design: Design, known: Sequence[Mapping[str, Any]]) -> Facts:
    """Return what is known by the cell's key."""
    return {cell.key: fact for cell, fact in zip(design.cells, known, strict=True)}


def refuse(cells: Sequence[Cell], facts: Iterable[Mapping[str, Any]]) -> None:
    """Raise UserError for the first cell that cannot be run."""
    for cell, fact in zip(cells, facts, strict=True):
        if fact.get("error"):
            raise UserError(f"{cell.name}: {fact['error']}")
