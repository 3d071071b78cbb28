"""What a comparison would run, what is there already, and about how long the rest will take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from rich.table import Table

from frostline.comparison.cells import Cell, CellFacts, CellJob, Design
from frostline.comparison.rates import ChosenRate

START_S = 15.0
RUN_S = 3.0
RATE = 2e10
"""Until a run of the comparison tells better: the seconds that importing everything takes, those that a run takes
whatever it trains, and the FLOPs per second of a worker."""


@dataclass(frozen=True)
class CellForecast:
    """One cell: its trials and runs, those that are there, and about what one of the others takes."""

    cell: Cell
    trials: int
    trials_done: int
    runs: int
    runs_done: int
    seconds: float
    measured: bool

    @property
    def left(self) -> int:
        return self.trials - self.trials_done + self.runs - self.runs_done


def forecast_cells(design: Design, facts: CellFacts, rates: Sequence[ChosenRate]) -> list[CellForecast]:
    """Return a row for each cell. Runs whose learning rate is still to be chosen count as not there."""
    jobs = {cell.key: list_jobs(cell, design, facts[cell.key], rates) for cell in design.cells}
    records = {
        job.id: record for found in jobs.values() for job in found if (record := job.find_final_record()) is not None
    }
    rate = median([*measure_paces(jobs, records, facts)] or [RATE])
    return [forecast_cell(cell, jobs[cell.key], design, facts[cell.key], records, rate) for cell in design.cells]


def list_jobs(cell: Cell, design: Design, fact: Mapping[str, Any], rates: Sequence[ChosenRate]) -> list[CellJob]:
    """Return the trials of a cell, and its runs as far as their learning rate is known."""
    node = design.config.compare
    grid = node.lr_grid if fact.get("stepped", True) else []
    trials = [cell.job(design.trial_seed, lr=rate, trial=True) for rate in grid]
    known = {one.key: one.lr for one in rates}
    if grid and cell.key not in known:
        return trials
    return trials + [cell.job(seed, lr=known.get(cell.key)) for seed in design.seeds]


def measure_paces(
    jobs: Mapping[Any, Sequence[CellJob]], records: Mapping[str, Any], facts: CellFacts
) -> Iterator[float]:
    """Yield the FLOPs per second of finished runs long enough to tell."""
    for key, found in jobs.items():
        for job in found:
            spent = records[job.id]["cost"]["seconds"] - RUN_S if job.id in records else 0.0
            if spent > RUN_S and facts[key].get("flops"):
                yield facts[key]["flops"] / spent


def forecast_cell(
    cell: Cell,
    jobs: Sequence[CellJob],
    design: Design,
    fact: Mapping[str, Any],
    records: Mapping[str, Any],
    rate: float,
) -> CellForecast:
    """Return a cell's row; its seconds are the mean of its own finished runs, or go by its FLOPs."""
    trials = [job for job in jobs if job.trial]
    there = [job for job in jobs if job.id in records]
    spent = [records[job.id]["cost"]["seconds"] for job in there if records[job.id]["status"] == "done"]
    guess = RUN_S + fact.get("flops", 0.0) / rate
    return CellForecast(
        cell,
        trials=len(trials),
        trials_done=sum(job.trial for job in there),
        runs=len(design.seeds),
        runs_done=sum(not job.trial for job in there),
        seconds=fmean(spent) if spent else guess,
        measured=bool(spent),
    )


def estimate_seconds(rows: Sequence[CellForecast], workers: int) -> float:
    """Return about the seconds that all that is left will take with so many workers."""
    left = sum(row.left * row.seconds for row in rows)
    return START_S + left / workers if left else 0.0


def make_table(rows: Sequence[CellForecast], title: str) -> Table:
    """Return the rows as a table for the terminal."""
    found = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("cell", "trials", "there", "runs", "there", "seconds each"):
        found.add_column(name, justify="left" if name == "cell" else "right")
    for one in rows:
        each = f"{one.seconds:.0f}" if one.measured else f"~{one.seconds:.0f}"
        found.add_row(one.cell.name, *map(str, (one.trials, one.trials_done, one.runs, one.runs_done)), each)
    return found
