"""What a comparison profiles: the network and data of each cell, read at every depth before anything trains."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from frostline.comparison.cells import CellFinding, CellKey, Design
from frostline.config.schema import Run
from frostline.profiles.record import PROFILE, find_profile_folder

OWN = ("task", "data", "augment", "backbone", "adapter", "trainer")
"""The nodes of a cell's config that its profile depends on, and that cells may differ in."""


@dataclass(frozen=True)
class ProfileFinding(CellFinding):
    """The folder of a cell's profile as a ``path``, or ``why`` it has none; without both it is still to come."""

    path: str | None = None
    why: str | None = None


def make_profile_configs(design: Design) -> list[Run]:
    """Return for each cell the config that its profile is made of; none is that of a run.

    The network is read as it comes, before a strategy changes it: the profile is that of `frostline profile` with the
    same overrides, without those of strategies, and the first seed. So cells that only train otherwise share one.
    """
    plain = {key: value for key, value in design.config.plain().items() if key != "compare"}
    base = replace(Run.read(plain), seed=design.seeds[0], test=False)
    return [replace(base, **{name: getattr(config, name) for name in OWN}) for config in design.configs()]


def count_profiles(design: Design, known: Mapping[CellKey, ProfileFinding]) -> tuple[int, int]:
    """Return how many profiles are still to be made, and how many are there; one that failed before is neither."""
    if not design.config.compare.profile:
        return 0, 0
    folders = {
        find_profile_folder(config): known.get(cell.key)
        for cell, config in zip(design.cells, make_profile_configs(design), strict=True)
    }
    there = [folder for folder in folders if (folder / PROFILE).exists()]
    left = [folder for folder, one in folders.items() if folder not in there and (one is None or one.why is None)]
    return len(left), len(there)
