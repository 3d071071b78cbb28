"""A depth profile, from Python and from the command line: what a worker measures, and the files that show it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from frostline.api.overrides import allowing_modules, as_path, make_overrides, write_command
from frostline.api.reports import Report
from frostline.comparison.cells import Cell, Design
from frostline.comparison.index import ComparisonIndex
from frostline.comparison.profiled import ProfileFinding, make_profile_configs
from frostline.config.compose import compose, resolve
from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.files.csv_tables import read_csv
from frostline.launchers.base import Launcher, make_launcher, take_only_result
from frostline.launchers.progress import Screen
from frostline.profiles.call import measure, try_measure
from frostline.profiles.record import PAGE, TABLE, find_profile_folder, read_profile

READING = "reading train and val at every depth ..."


@dataclass(frozen=True)
class ProfileResult:
    """A depth profile, by its ``folder``."""

    folder: Path

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """The profile.json. Raises UserError where there is none that can be read."""
        content = read_profile(self.folder)
        if content is None:
            raise UserError(f"{self.folder}: there is no depth profile; profile again.")
        return content

    @property
    def taps(self) -> Sequence[Mapping[str, Any]]:
        """Each tap from the input to the output: ``name``, ``width``, ``probe``, ``neighbours``, the scores."""
        return self.content["taps"]

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The tap that a solved probe reads best on validation; None where none has a score."""
        place = self.content["best"]
        return None if place is None else self.taps[place]

    @property
    def joined(self) -> Mapping[str, Mapping[str, Any]]:
        """The heads over several taps, by what they read: ``all`` and ``late``."""
        return {one["name"]: one for one in self.content["joined"]}

    @property
    def table(self) -> list[dict[str, str]]:
        """The profile.csv: a row for each tap, then for each joined head, as texts."""
        return list(read_csv(self.folder / TABLE))

    @property
    def report(self) -> Report:
        """The page, which a notebook shows."""
        return Report(self.folder / PAGE)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    def __repr__(self) -> str:
        return f"<depth profile {self.folder.name}: {self.content['backbone']} on {self.content['data']}>"


def profile(
    *overrides: str,
    config_dir: str | os.PathLike[str] | None = None,
    allow: str | Sequence[str] = (),
    quiet: bool = False,
    **keywords: Any,
) -> ProfileResult:
    """Profile a frozen network on data at each of its depths, as `frostline profile` does, and return the profile.

    Arguments are those of ``run``; what plays a part are data, backbone, augment, task, monitor, seed and outputs. The
    test split is not looked at. The same call again finds the profile.

    Raises UserError for a mistake, and for a task that no probe can be solved for.
    """
    given = make_overrides(overrides, keywords)
    allowed = (allow,) if isinstance(allow, str) else tuple(allow)
    with allowing_modules(allowed):
        config = resolve(compose("run", given, as_path(config_dir)))
        folder = make_profile(config, write_command("profile", given, config_dir, allowed), Screen(quiet))
    return ProfileResult(folder)


def make_profile(config: Run, command: str, screen: Screen) -> Path:
    """Return the folder of a resolved config's profile, which a worker measures unless it is there."""
    folder = find_profile_folder(config)
    content = None if config.force else read_profile(folder)
    if content is None:
        screen.say(READING)
        with make_launcher([config]) as launcher:
            found = launcher.share(measure, [config], 1)
        if not found:
            raise UserError(
                "launcher: the job of a profile is waited for, and there is none: expected launcher.detach=false, "
                "and no job of the same run."
            )
        content = take_only_result(found)
    write_whole(folder, content, config, command)
    return folder


def write_whole(folder: Path, content: Mapping[str, Any], config: Run, command: str) -> None:
    """Write a profile's files: of one that was read back as it is, of a measured one with what it was made of."""
    from frostline.report.page.profile import write_profile

    write_profile(folder, {"id": folder.name, "command": command, "config": config.plain(), **content})


def profile_cells(design: Design, index: ComparisonIndex, launcher: Launcher, screen: Screen) -> None:
    """Make the profiles of a comparison's cells by an entered launcher; its index keeps where they are.

    Cells with the same network and data share one. What cannot be profiled costs the comparison a sentence, which
    stands for later sittings too, until `frostline profile` has made the profile or ``force`` asks for all anew.
    """
    made: dict[Path, ProfileFinding] = {}
    found = []
    for cell, config in zip(design.cells, make_profile_configs(design), strict=True):
        folder = find_profile_folder(config)
        if folder not in made:
            made[folder] = profile_cell(cell, config, index, launcher, screen)
        found.append(replace(made[folder], label=cell.label, block=cell.block))
    index.set(profiles=[one.to_dict() for one in found])


def profile_cell(cell: Cell, config: Run, index: ComparisonIndex, launcher: Launcher, screen: Screen) -> ProfileFinding:
    """Return where the profile of a cell is, made now unless it is there or an earlier sitting failed to make it."""
    folder, earlier = find_profile_folder(config), index.read_profiles().get(cell.key)
    there = ProfileFinding(cell.label, cell.block, path=os.path.relpath(folder, index.folder))
    try:
        if not config.force and read_profile(folder) is not None:
            return there
        if not config.force and earlier is not None and earlier.why is not None:
            return earlier
        if config.launcher.get("detach"):  # nobody waits for what a job finds: a sitting that does makes the profile
            return replace(there, path=None)
        screen.say(READING)
        found = launcher.share(try_measure, [config], 1)
        if not found:  # the runs have jobs already, and so has a profile that another sitting asked for
            return replace(there, path=None)
        write_whole(folder, take_only_result(found), config, index.content["command"])
    except UserError as error:
        screen.warn(f"the report will have no depth profile: {error}")
        return replace(there, path=None, why=str(error))
    return there
