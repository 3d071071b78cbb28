"""The depth profiles of a comparison's cells, read from beside it: checked, and never a reason to have no report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.errors import UserError
from frostline.profiles.record import read_profile
from frostline.report.read.runs import Block, read_block, resolve_place

Profile = Mapping[str, Any]
"""What a profile.json says, of the shape `frostline.profiles.record.SHAPE`."""


@dataclass(frozen=True)
class CellProfile:
    """The depth profile of one strategy in one block, or ``why`` there is none, in a sentence.

    Cells with the same network and data have the same ``content``, one object for all of them. Both None: the profile
    is still to come.
    """

    label: str
    block: Block
    content: Profile | None = None
    why: str | None = None


def read_cell_profiles(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[CellProfile]:
    """Return the profiles that the comparison in ``folder`` lists; each file is read once."""
    known = {path: _read(folder, path) for path in dict.fromkeys(row["path"] for row in rows) if path is not None}
    found = []
    for row in rows:
        content, why = known.get(row["path"], (None, row["why"]))
        found.append(CellProfile(row["label"], read_block(row["block"]), content, why))
    return found


def _read(folder: Path, path: str) -> tuple[Profile | None, str | None]:
    """Return a profile, or why there is none."""
    place = resolve_place(folder, path)
    try:
        content = read_profile(place)
    except UserError as error:
        return None, str(error)
    return content, None if content else f"{place}: the profile that was here is gone."
