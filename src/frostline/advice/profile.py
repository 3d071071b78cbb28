"""The depth profile on an advice's page: made where time is left over, and no decision goes by it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from frostline.config.schema import Run
from frostline.errors import UserError
from frostline.launchers.base import Launcher
from frostline.profiles.call import try_measure
from frostline.profiles.record import find_profile_folder, read_profile

TIMES = 4.0
"""A profile takes at most about so many times what the joined head took: it solves one at each depth."""


def make_profile(run: Run, launcher: Launcher, command: str, say: Callable[[str], None]) -> Path:
    """Return the folder of the profile of a frozen run's network and data, measured by a worker unless it is there.

    Raises UserError where it cannot be.
    """
    config = replace(run, judged=False, group=None, label=None)
    folder = find_profile_folder(config)
    if read_profile(folder) is not None:
        return folder
    from frostline.report.page.profile import write_profile

    say("reading the network at every depth ...")
    for found in launcher.share(try_measure, [config], 1):
        if isinstance(found, UserError):
            raise found
        write_profile(folder, {"id": folder.name, "command": command, "config": config.plain(), **found})
        return folder
    raise UserError("launcher: the job of a profile is waited for, and there is none; leave launcher.detach out.")
