"""The story of a comparison: survey, caches, trials, runs; each step goes on where an earlier sitting stopped."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from frostline.comparison.cells import Cell, CellFacts, CellJob, CellKey, Design
from frostline.comparison.index import ComparisonIndex
from frostline.comparison.rates import SOLVED, ChosenRate, choose_epochs, choose_rate, extend_grid
from frostline.config.schema import ComparisonConfig, find_monitor
from frostline.errors import UserError
from frostline.launchers.base import Launcher
from frostline.launchers.progress import Screen, run_all
from frostline.runs.calls import count_passes, extract, survey
from frostline.tasks.declarations import Metric

Records = Mapping[str, Mapping[str, Any]]
"""Records by the run's ID."""


class Detached(Exception):
    """Some runs have been left to go on by themselves; what depends on them is for another sitting."""

    def __init__(self, runs: int):
        super().__init__(f"{runs} runs were submitted")
        self.runs = runs


@dataclass
class ComparisonSitting:
    """One sitting of a comparison: its cells, its index, the launcher that runs them, and the screen that shows it."""

    design: Design
    index: ComparisonIndex
    launcher: Launcher
    screen: Screen

    def complete(self, facts: CellFacts) -> int:
        """Do all that is left to do, with what ``survey_cells`` has found out; return how many runs have no result.

        Raises Detached when a launcher that does not wait has been given runs.
        """
        self.fill_caches(facts)
        cells = self.set_epochs(facts)
        rates = self.choose_rates(cells, facts)
        jobs = [cell.job(seed, lr=rates[cell.key].lr) for cell in cells for seed in self.design.seeds]
        self.index.set_runs(jobs)
        records = self.run(jobs)
        return sum(records[job.id]["status"] != "done" for job in jobs)

    def survey_cells(self) -> CellFacts:
        """Return what is known of each cell before it runs. Raises UserError for a cell that cannot be run."""
        known = survey_cells(self.design, self.index, self.launcher)
        for said in dict.fromkeys(fact["data"] for fact in known if fact.get("data")):
            self.screen.say(said)
        self.index.set(facts=known)
        return key_facts_by_cell(self.design, known)

    def fill_caches(self, facts: CellFacts) -> None:
        """Fill the caches for all runs that are left, in one pass; where that fails the runs do it for themselves."""
        cached = [job for job in self.expect_jobs() if facts[job.cell.key].get("entries")]
        left = [job.config for job in cached if job.find_final_record() is None]
        if not left:
            return
        self.screen.say("filling the caches for all runs ...")
        # where there is nobody to share passes with, the one who makes them sees how many there are
        found: list[Any] = []
        try:
            passes = self.launcher.ask(count_passes, left) if self.launcher.workers > 1 else 1
            if passes:
                found = self.launcher.share(extract, left, min(self.launcher.workers, passes))
        except UserError as error:
            found = [error]
        for error in dict.fromkeys(str(one) for one in found if isinstance(one, UserError)):
            self.screen.warn(f"what the caches lack is left to the runs: {error}")
        self.index.add_extraction([one for one in found if not isinstance(one, UserError)])

    def expect_jobs(self) -> list[CellJob]:
        """Return the runs to come, as far as that is known before the trials, and one trial for each cell."""
        rates = {one.key: one.lr for one in self.index.read_rates()}
        cells = self.design.cells
        jobs = [cell.job(seed, lr=rates.get(cell.key)) for cell in cells for seed in self.design.seeds]
        if self._tries and not rates:
            jobs += [cell.job(self.design.trial_seed, trial=True) for cell in cells]
        return jobs

    def set_epochs(self, facts: CellFacts) -> list[Cell]:
        """Return the cells with the epochs that their budget allows; a pilot run tells what an epoch takes."""
        seconds = self._node.budget.seconds
        if seconds is None:
            return self.design.cells
        pilots = [cell.job(self.design.trial_seed, trial=True) for cell in self.design.cells]
        records = self.run(pilots)
        found = []
        for job in pilots:
            phases = facts[job.cell.key].get("phases", 1)
            found.append(replace(job.cell, epochs=choose_epochs(job.cell, records[job.id], seconds, phases)))
        return found

    def choose_rates(self, cells: Sequence[Cell], facts: CellFacts) -> dict[CellKey, ChosenRate]:
        """Return the learning rate of each cell: the best of the grid on validation, where there is a grid."""
        grid = self._node.lr_grid
        if not grid:
            return {cell.key: ChosenRate(cell.label, cell.block, cell.lr) for cell in cells}
        known = self.index.read_rates()
        if not known:
            rates = {cell.key: grid if facts[cell.key].get("stepped", True) else [] for cell in cells}
            found = self.try_rates(cells, rates)
            edges = {one.key: one.edge for one in found if one.edge}
            if self._node.lr_extend and edges:
                rates |= {key: [*grid, extend_grid(grid, edge)] for key, edge in edges.items()}
                found = self.try_rates(cells, rates, frozenset(edges))
            self.index.set_rates(found)
            known = found
        return {one.key: one for one in known}

    def try_rates(
        self, cells: Sequence[Cell], rates: Mapping[CellKey, Sequence[float]], extended: Set[CellKey] = frozenset()
    ) -> list[ChosenRate]:
        """Try these learning rates for each cell; return the choices. ``extended`` tells whose grid was extended."""
        jobs = {cell.key: [self._trial(cell, rate) for rate in rates[cell.key]] for cell in cells}
        flat = [job for trials in jobs.values() for job in trials]
        self.index.set_runs(flat)
        records = self.run(flat)
        found = []
        for cell in cells:
            trials = [(job.lr, records[job.id]) for job in jobs[cell.key]]
            if trials:
                found.append(choose_rate(cell, trials, self._monitor, cell.key in extended))
            else:
                found.append(ChosenRate(cell.label, cell.block, cell.lr, why=SOLVED))
        return found

    def _trial(self, cell: Cell, rate: float) -> CellJob:
        return cell.job(self.design.trial_seed, lr=rate, trial=True)

    def run(self, jobs: Sequence[CellJob]) -> Records:
        """Run the jobs and return their records, failed ones too. Raises Detached where some are left to go on."""
        different = {job.id: job for job in jobs}
        ends = run_all(list(different.values()), self.launcher, self.screen)
        records = {outcome.id: outcome.record for _, outcome, _ in ends}
        if len(records) < len(different):
            raise Detached(len(different) - len(records))
        return records

    @property
    def _node(self) -> ComparisonConfig:
        return self.design.config.compare

    @property
    def _monitor(self) -> Metric:
        return find_monitor(self.design.config)

    @property
    def _tries(self) -> bool:
        return bool(self._node.lr_grid) or self._node.budget.seconds is not None


def survey_cells(design: Design, index: ComparisonIndex, launcher: Launcher) -> list[dict[str, Any]]:
    """Return what is known of each cell before it runs, by an earlier sitting or found out in a worker now.

    Raises UserError for a cell that cannot be run.
    """
    known = index.content["facts"]
    if known is None:
        known = launcher.ask(survey, design.configs())
        check_facts(design.cells, known)
    return known


def key_facts_by_cell(design: Design, known: Sequence[Mapping[str, Any]]) -> CellFacts:
    """Return what is known, by the cell's key."""
    return {cell.key: fact for cell, fact in zip(design.cells, known, strict=True)}


def check_facts(cells: Sequence[Cell], facts: Iterable[Mapping[str, Any]]) -> None:
    """Raise UserError for the first cell that cannot be run."""
    for cell, fact in zip(cells, facts, strict=True):
        if fact.get("error"):
            raise UserError(f"{cell.name}: {fact['error']}")
