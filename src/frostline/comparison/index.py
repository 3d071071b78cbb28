"""comparison.json: which runs a comparison is made of, and what it has found out so far."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from frostline.comparison.cells import CellJob, CellKey, Design, describe_block
from frostline.comparison.profiled import ProfileFinding
from frostline.comparison.rates import ChosenRate
from frostline.config.secrets import without_credentials
from frostline.files.atomic import write_json
from frostline.results.indexes import load_comparison
from frostline.results.store import FINAL, read_record

FORMAT = 2
NAME = "comparison.json"


@dataclass
class ComparisonIndex:
    """A comparison's file. What an earlier sitting of the same comparison found out is kept; another's is not."""

    folder: Path
    content: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, design: Design, command: str) -> "ComparisonIndex":
        """Return the index of a comparison that begins or goes on."""
        node = design.config.compare
        content = {
            "format": FORMAT,
            "design": design.digest(),
            "name": design.name,
            "command": without_credentials(command),
            "factor": design.factor,
            "axes": design.axes,
            "seeds": design.seeds,
            "budget": asdict(node.budget),
            "lr_grid": node.lr_grid,
            "lr_seed": design.trial_seed if node.lr_grid or node.budget.seconds else None,
            "wall_seconds": 0.0,
            "extraction": None,
            "profiles": [],
            "facts": None,
            "tuned": [],
            "runs": [],
        }
        before = None if design.config.force else read(folder)
        if before is not None and before.get("design") == content["design"]:
            kept = ("wall_seconds", "extraction", "profiles", "facts", "tuned", "runs")
            content |= {key: before[key] for key in kept if before.get(key) is not None}
            if len(content["facts"] or ()) != len(design.cells):
                content["facts"] = None
        return cls(folder, content)

    def set(self, **found: Any) -> None:
        """Keep what was found out, on disk at once."""
        self.content |= found
        write_json(self.folder / NAME, self.content)

    def set_runs(self, jobs: Iterable[CellJob]) -> None:
        """Keep which runs there are: ``jobs`` and, where these are no trials, the trials that led to them."""
        rows = [self._row(job) for job in jobs]
        if rows and not rows[0]["trial"]:
            rows += [row for row in self.content["runs"] if row["trial"]]
        self.set(runs=rows)

    def _row(self, job: CellJob) -> dict[str, Any]:
        return {
            "label": job.cell.label,
            "block": job.cell.block,
            "seed": job.seed,
            "lr": job.lr,
            "epochs": job.epochs,
            "trial": job.trial,
            "id": job.id,
            "path": os.path.relpath(job.folder, self.folder),
        }

    def add_extraction(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Add what filling the caches took in each worker, all at the same time, unless nothing was missing."""
        if any(one["passes"] for one in found):
            total = self.content["extraction"] or {}
            spent = {"seconds": max(one["seconds"] for one in found)}
            spent |= {key: sum(one[key] for one in found) for key in ("passes", "bytes")}
            self.set(extraction={key: (total.get(key) or 0) + value for key, value in spent.items()})

    def read_profiles(self) -> dict[CellKey, ProfileFinding]:
        """Return what an earlier sitting came to of each cell's profile."""
        rows = self.content["profiles"]
        found = [ProfileFinding(row["label"], row["block"], row["path"], row["why"]) for row in rows]
        return {one.key: one for one in found}

    def read_rates(self) -> list[ChosenRate]:
        """Return what an earlier sitting chose; nothing if a trial has still to come to an end."""
        trials = [self.folder / row["path"] for row in self.content["runs"] if row["trial"]]
        ended = all((record := read_record(path)) is not None and record["status"] in FINAL for path in trials)
        names = [one.name for one in fields(ChosenRate)]
        return [ChosenRate(**{name: one[name] for name in names}) for one in self.content["tuned"]] if ended else []

    def read_epochs(self) -> dict[CellKey, int]:
        """Return the epochs of each cell's runs, as far as an earlier sitting came to them."""
        known = [row for row in self.content["runs"] if row.get("epochs")]
        return {(row["label"], describe_block(row["block"])): row["epochs"] for row in known}

    def set_rates(self, rates: Iterable[ChosenRate]) -> None:
        """Keep the learning rate of each cell."""
        self.set(tuned=[one.to_dict() for one in rates])


def read(folder: Path) -> dict[str, Any] | None:
    """Return what is in a comparison's folder, or None where there is nothing that can be read."""
    try:
        return load_comparison(folder / NAME, FORMAT)
    except (OSError, ValueError):
        return None
