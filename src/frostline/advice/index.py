"""advice.json: what was asked, who is in the race and how far, every decision with its reason, and the answer."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frostline.advice.candidates import Inquiry
from frostline.config.schema import find_monitor
from frostline.config.secrets import without_credentials
from frostline.files.atomic import write_json
from frostline.results.indexes import ADVICE_FILE, ADVICE_FORMAT, load_advice


@dataclass
class AdviceIndex:
    """An advice's file. What an earlier sitting of the same advice found out is kept; another's is not."""

    folder: Path
    content: dict[str, Any]
    earlier: float = field(init=False)

    def __post_init__(self) -> None:
        self.earlier = self.content["seconds"]

    @classmethod
    def open(cls, folder: Path, inquiry: Inquiry, command: str) -> "AdviceIndex":
        """Return the index of an advice that begins or goes on."""
        content: dict[str, Any] = {
            "format": ADVICE_FORMAT,
            "design": inquiry.design,
            "name": inquiry.name,
            "command": without_credentials(command),
            "base": [without_credentials(one) for one in inquiry.list_base()],
            "metric": inquiry.config.metric,
            "lower_is_better": find_monitor(inquiry.config).lower_is_better,
            "within": inquiry.within,
            "least": inquiry.node.least,
            "seconds": 0.0,
            "found": None,
            "notes": [],
            "history": [],
            "pace": None,
            "profile": None,
            "trials": [],
            "moves": [],
            "answer": None,
        }
        before = None if inquiry.config.force else read(folder)
        if before is not None and before["design"] == content["design"]:
            content |= {key: before[key] for key in ("seconds", "found", "profile", "trials", "moves")}
        return cls(folder, content)

    def set(self, **found: Any) -> None:
        """Keep what was found out, on disk at once."""
        self.content |= found
        write_json(self.folder / ADVICE_FILE, self.content)

    def add_move(self, at: float, what: str, name: str, reason: str, **more: Any) -> None:
        """Keep a decision: ``at`` so many seconds from the beginning, over all sittings."""
        row = {"at": round(at, 2), "what": what, "name": name, "reason": reason, **more}
        self.set(moves=[*self.content["moves"], row])

    def set_trial(self, row: Mapping[str, Any], folder: Path) -> None:
        """Keep how a candidate stands, in place of how it stood; ``folder`` is its run's."""
        row = {**row, "path": os.path.relpath(folder, self.folder)}
        others = [one for one in self.content["trials"] if one["id"] != row["id"]]
        self.set(trials=[*others, row])

    def find_trial(self, run: str) -> Mapping[str, Any] | None:
        """Return how a run stood, None where it is not known yet."""
        return next((one for one in self.content["trials"] if one["id"] == run), None)


def read(folder: Path) -> dict[str, Any] | None:
    """Return what is in an advice's folder, or None where there is nothing that can be read."""
    try:
        return load_advice(folder)
    except (OSError, ValueError):
        return None
